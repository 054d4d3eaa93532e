"""A client of Vault that stays logged in. It blocks, so it works in threads."""

import json
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import hvac
import structlog
from hvac.exceptions import (
    BadGateway,
    Forbidden,
    InternalServerError,
    InvalidPath,
    InvalidRequest,
    RateLimitExceeded,
    VaultDown,
    VaultError,
    VaultNotInitialized,
)
from pydantic import SecretStr
from requests.exceptions import ConnectionError as NoConnectionError
from requests.exceptions import RequestException, SSLError, Timeout

from app.core.secrets.port import Secret
from app.core.secrets.vault.address import VaultAddress

log = structlog.get_logger(logger_name="app.secrets")
ResultT = TypeVar("ResultT")


class NoVaultError(Exception):
    """Something else answers, such as a proxy with a page of its own."""


OUTAGES = (VaultError, NoVaultError, OSError)
"""How Vault fails to answer, or refuses; what `requests` raises is an OSError."""

PASSING = (
    *(NoConnectionError, Timeout),
    *(BadGateway, InternalServerError, RateLimitExceeded, VaultDown),
)
"""What may be over at the next attempt."""

_RENEW_AFTER = 2 / 3
_ENOUGH = 1 / 2
_TRY_AGAIN_AFTER = 1 / 10
_SHORTEST_PAUSE = 0.2


class Session:
    """One login at one Vault; several threads may use it at once.

    The token is renewed at two thirds of its life. When a renewal gives much less than the login
    did, the end of its longest life is near, and a new login replaces it; so does one when Vault
    no longer knows the token.
    """

    def __init__(self, address: VaultAddress) -> None:
        self.address = address
        self.last: Secret | None = None
        given = address.vault_token
        self._log_in = self._way_in()
        # An empty one, since hvac looks for None in the environment and in the home directory.
        self._client = self._client_with(given.get_secret_value() if given else "")
        self._lock = threading.Lock()
        self._granted: float | None = None
        self._renew_at = float("-inf")
        self._ends_at = float("-inf")
        self._renewable = True
        self._warned = False

    def _client_with(self, token: str) -> hvac.Client:
        return hvac.Client(
            url=self.address.vault_addr,
            token=token,
            namespace=self.address.vault_namespace,
            verify=self.address.vault_ca_file or True,
            timeout=self.address.vault_timeout,
        )

    def leave_parent(self) -> None:
        """Go on in a forked process: by the same login, over connections of its own."""
        self._client = self._client_with(self._client.token)
        self._lock = threading.Lock()  # a thread that is not here may hold the other one

    # --- the token ---

    def seconds_to_renewal(self) -> float:
        """How long the token needs no care; infinite when it never ends."""
        return max(self._renew_at - monotonic(), _SHORTEST_PAUSE)

    def seconds_left(self) -> float:
        """How long the token lives if nobody renews it; infinite when it never ends."""
        return max(self._ends_at - monotonic(), 0.0)

    def ensure(self) -> None:
        """Log in, or renew the token, if it is time to.

        Raises:
            Exception: one of `OUTAGES`.
        """
        with self._lock:
            if monotonic() < self._renew_at:
                return
            if self._granted is None:
                self._begin()
                return
            try:
                self._renew()
            except PASSING:
                # Whoever waits goes on with the token as it is, instead of asking in turn.
                self._renew_later(self.seconds_left())
                raise

    def is_root(self) -> bool:
        """Whether the token may do everything.

        Raises:
            Exception: one of `OUTAGES`.
        """
        answer = self.call(lambda client: client.auth.token.lookup_self())
        return "root" in _data(answer)["policies"]

    def _begin(self) -> None:
        if self._log_in is not None:
            self._note(self._log_in()["auth"])
            return
        known = self._client.auth.token.lookup_self()["data"]
        # The last second counts as none, and a token that never ends has no life either.
        seconds = max(known["ttl"], 1) if known["expire_time"] else 0
        self._note({"lease_duration": seconds, "renewable": known.get("renewable", False)})

    def _renew(self) -> None:
        renewed = self._renewed() if self._renewable else None
        granted = self._granted or 0
        if renewed and renewed["lease_duration"] >= granted * _ENOUGH:
            self._note(renewed, granted)
        elif self._log_in is not None:
            self._note(self._log_in()["auth"])
        else:
            # Nobody can log in with a token that has ended: an operator must give another one.
            if not self._warned:
                log.warning("VAULT_TOKEN ends soon and cannot be renewed")
                self._warned = True
            self._renew_later(granted)

    def _renew_later(self, life: float) -> None:
        self._renew_at = monotonic() + max(life * _TRY_AGAIN_AFTER, _SHORTEST_PAUSE)

    def _renewed(self) -> Mapping[str, Any] | None:
        try:
            answer: Mapping[str, Any] = self._client.auth.token.renew_self()
        except (Forbidden, InvalidRequest, InternalServerError):
            return None  # Vault calls it an internal error when the longest life is over
        found: Mapping[str, Any] = answer["auth"]
        return found

    def _note(self, auth: Mapping[str, Any], granted: float | None = None) -> None:
        seconds = float(auth["lease_duration"])
        self._granted = granted or seconds
        self._renewable = bool(auth["renewable"])
        pause = max(seconds * _RENEW_AFTER, _SHORTEST_PAUSE) if seconds else float("inf")
        self._renew_at = monotonic() + pause
        self._ends_at = monotonic() + (seconds or float("inf"))

    def _way_in(self) -> Callable[[], Mapping[str, Any]] | None:
        if self.address.vault_role_id:
            return self._log_in_by_approle
        return self._log_in_by_kubernetes if self.address.vault_k8s_role else None

    def _log_in_by_approle(self) -> Mapping[str, Any]:
        proof = self.address.vault_secret_id
        answer: Mapping[str, Any] = self._client.auth.approle.login(
            role_id=self.address.vault_role_id,
            secret_id=proof.get_secret_value() if proof else None,
            mount_point=self.address.vault_auth_mount or "approle",
        )
        return answer

    def _log_in_by_kubernetes(self) -> Mapping[str, Any]:
        # Read each time: Kubernetes replaces the token of the account from time to time.
        token = Path(self.address.vault_k8s_token_path).read_text("utf-8").strip()
        answer: Mapping[str, Any] = self._client.auth.kubernetes.login(
            role=self.address.vault_k8s_role,
            jwt=token,
            mount_point=self.address.vault_auth_mount or "kubernetes",
        )
        return answer

    # --- questions ---

    def call(self, ask: Callable[[hvac.Client], ResultT]) -> ResultT:
        """Ask something; once more after a new login, when the token has died meanwhile.

        Raises:
            Exception: one of `OUTAGES`.
        """
        try:
            self.ensure()
            token = self._client.token
            try:
                return ask(self._client)
            except Forbidden:
                if self._log_in is None or self._is_alive(token):
                    raise
            with self._lock:
                if self._client.token == token:  # no other thread was faster
                    self._begin()
            return ask(self._client)
        except (KeyError, TypeError) as error:
            raise NoVaultError from error  # to a login or a renewal

    def _is_alive(self, token: str) -> bool:
        try:
            self._client.auth.token.lookup_self()
        except Forbidden:
            return False
        return bool(self._client.token == token)  # else another thread has logged in meanwhile

    def read_own(self) -> Secret | None:
        """Read the secret whose keys are settings, and remember it in `last`.

        Raises:
            Exception: one of `OUTAGES`.
        """
        found = self.read("", None)
        if found is not None:
            self.last = found
        return found

    def read(self, path: str, version: int | None) -> Secret | None:
        """Read a document below our own place, or an older version of it.

        Raises:
            Exception: one of `OUTAGES`.
        """
        try:
            answer = self.call(
                lambda client: client.secrets.kv.v2.read_secret_version(
                    **self._at(path), version=version, raise_on_deleted_version=True
                )
            )
        except InvalidPath:
            return None
        data = _data(answer)
        values = {
            name: SecretStr(_as_text(value))
            for name, value in data["data"].items()
            if value is not None
        }
        return Secret(values, int(data["metadata"]["version"]))

    def write(self, path: str, values: Mapping[str, str], version: int | None) -> int:
        """Write a document and give its new version.

        Raises:
            Exception: one of `OUTAGES`; `InvalidRequest` when it has another version.
        """
        write = partial(self._write, path, values)
        try:
            return write(version)
        except InvalidRequest:
            if version != 0:
                raise
            # A removed document still counts its versions.
            removed = self._removed_version(path)
            if removed is None:
                raise
            return write(removed)

    def _write(self, path: str, values: Mapping[str, str], version: int | None) -> int:
        answer = self.call(
            lambda client: client.secrets.kv.v2.create_or_update_secret(
                **self._at(path), secret=dict(values), cas=version
            )
        )
        return int(_data(answer)["version"])

    def _removed_version(self, path: str) -> int | None:
        try:
            self.call(
                lambda client: client.secrets.kv.v2.read_secret_version(
                    **self._at(path), raise_on_deleted_version=True
                )
            )
        except InvalidPath as error:
            found = (error.json or {}).get("data") or {}
            removed: int | None = found.get("metadata", {}).get("version")
            return removed
        return None

    def remove(self, path: str) -> None:
        """Remove the newest version of a document.

        Raises:
            Exception: one of `OUTAGES`.
        """
        self.call(
            lambda client: client.secrets.kv.v2.delete_latest_version_of_secret(**self._at(path))
        )

    def names(self, path: str) -> list[str]:
        """Name what is below a path.

        Raises:
            Exception: one of `OUTAGES`.
        """
        try:
            answer = self.call(lambda client: client.secrets.kv.v2.list_secrets(**self._at(path)))
        except InvalidPath:
            return []
        return sorted(_data(answer)["keys"])

    def _at(self, path: str) -> dict[str, str]:
        whole = f"{self.address.vault_path}/{path}" if path else self.address.vault_path
        return {"path": whole, "mount_point": self.address.vault_mount}

    # --- what went wrong ---

    def explain(self, error: Exception) -> str:
        """Say in one line what to do about an error; names no value."""
        address, place = self.address.vault_addr, self._place()
        if isinstance(error, SSLError):
            return f"the certificate of Vault at {address} is not trusted: set VAULT_CA_FILE"
        if isinstance(error, RequestException | TimeoutError):
            return f"Vault at {address} does not answer: start it, or mend VAULT_ADDR"
        if isinstance(error, VaultNotInitialized):
            return f"Vault at {address} is not initialised: vault operator init"
        if isinstance(error, VaultDown):
            return f"Vault at {address} is sealed: vault operator unseal"
        if self._granted is None and isinstance(error, Forbidden | InvalidRequest):
            return f"Vault at {address} refuses the login: mend {self._credentials()}"
        if isinstance(error, Forbidden):
            return f"Vault at {address} does not let us read {place}: write deploy/vault's policies"
        if isinstance(error, NoVaultError):
            return (
                f"what answers at {address} is no Vault: mend VAULT_ADDR, or what stands before it"
            )
        if isinstance(error, VaultError):
            return f"Vault at {address} fails: {type(error).__name__}"
        return f"VAULT_K8S_TOKEN_PATH cannot be read: {type(error).__name__}"

    def explain_missing(self) -> str:
        """Say in one line what to do about a secret that is not there."""
        put = f"vault kv put -mount={self.address.vault_mount} {self.address.vault_path} NAME=VALUE"
        return f"Vault at {self.address.vault_addr} has nothing at {self._place()}: {put}"

    def _place(self) -> str:
        return f"{self.address.vault_mount}/{self.address.vault_path}"

    def _credentials(self) -> str:
        if self.address.vault_role_id:
            return "VAULT_ROLE_ID and VAULT_SECRET_ID"
        return "VAULT_K8S_ROLE" if self.address.vault_k8s_role else "VAULT_TOKEN"


def _data(answer: Any) -> Mapping[str, Any]:
    """Take out of an answer what it says: hvac passes on whatever a proxy answers by 200."""
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict):
        raise NoVaultError
    return data


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


_sessions: dict[tuple[object, ...], Session] = {}


def session_for(address: VaultAddress) -> Session:
    """Give the session of this process: settings and service share one login."""
    key = tuple(getattr(address, name) for name in VaultAddress.model_fields)
    return _sessions.setdefault(key, Session(address))


def _leave_parent() -> None:
    for session in _sessions.values():
        session.leave_parent()


if hasattr(os, "register_at_fork"):  # not on Windows
    # Two processes that read from one connection would be given each other's secrets.
    os.register_at_fork(after_in_child=_leave_parent)
