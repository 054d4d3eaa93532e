"""The port behind which secrets are kept: in the environment, or in a store such as Vault.

Two kinds of secrets go through it. Those of the service itself are named as its settings are:
`secrets.current("JWT_SECRET")` gives the present value at once, and a store may change it while the
service runs. All others are documents at a path, read and written with `await secrets.get(path)`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog
from pydantic import SecretStr, ValidationError
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource

from app.core.errors import ConflictError, ServiceUnavailableError
from app.core.piece import Details
from app.core.settings import AppSettings, refused

log = structlog.get_logger(logger_name="app.secrets")

Values = Mapping[str, SecretStr]
"""Secrets by name."""

Listener = Callable[[SecretStr | None], None]

_NOT_STARTED = "secrets are used outside of the application's lifespan"


class SecretConflictError(ConflictError):
    """Somebody else wrote the same secret since it was read."""


class SecretsUnavailableError(ServiceUnavailableError):
    """The store of secrets does not answer, or refuses."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A document in the store; its values are never printed.

    Attributes:
        values: by name.
        version: pass it to `put` to write only if nobody else did meanwhile.
    """

    values: Values
    version: int


class Store(Protocol):
    """What keeps secrets. Paths are relative to the service's own place in it."""

    async def get(self, path: str, version: int | None) -> Secret | None:
        """Read a document, its newest version or an older one."""

    async def put(self, path: str, values: Mapping[str, str], version: int | None) -> int:
        """Write a document, if its version is still this one, and give the new version."""

    async def delete(self, path: str) -> None:
        """Remove the newest version."""

    async def list(self, path: str) -> Sequence[str]:
        """Name what is below a path; what has more below it ends with a slash."""

    async def refresh(self) -> None:
        """Look now whether the service's own secrets have changed; never raises."""

    def describe(self) -> Details:
        """Say how it is, for operators.

        Raises:
            Exception: it is out of reach.
        """


class _Given:
    """What was said at the start: by arguments, the environment and .env, or by defaults.

    Attributes:
        fixed: what never changes, since the store is not asked for it.
        defaults: what holds while the store says nothing.
        needed: settings that always have a value, so the store's last word stays.
    """

    def __init__(self, settings: AppSettings) -> None:
        kind = type(settings)
        self.settings = settings
        said = {**DotEnvSettingsSource(kind).env_vars, **EnvSettingsSource(kind).env_vars}
        fixed = settings.model_fields_set - settings.from_store
        values = {name: _as_secret(getattr(settings, name)) for name in kind.model_fields}
        others = {name: _as_secret(value) for name, value in said.items() if name not in values}
        self.fixed = others | {name: values[name] for name in fixed}
        self.needed = {name for name, each in kind.model_fields.items() if each.default is not None}
        # Not what the store has said at the start: what it takes back is gone.
        gone = settings.from_store - self.needed
        self.defaults = {name: values[name] for name in values.keys() - fixed - gone}


@dataclass
class _State:
    given: _Given
    store: Store | None
    stored: Mapping[str, SecretStr]


class Secrets:
    """The one object that asks for secrets go to, usable between start and stop of the service."""

    def __init__(self) -> None:
        self._state: _State | None = None
        self._listeners: list[tuple[str, Listener]] = []

    # --- the service's own secrets ---

    @property
    def started(self) -> bool:
        """Whether the service runs."""
        return self._state is not None

    def current(self, name: str) -> SecretStr | None:
        """Give the present value of a setting or another variable; costs no input or output.

        What arguments, the environment or `.env` say wins and never changes. Otherwise it is what
        the store says. When it says nothing any more, an optional setting has no value, and all
        others keep the last one.

        Raises:
            RuntimeError: the service does not run.
        """
        state = self._running()
        key = name.lower()
        for values in (state.given.fixed, state.stored, state.given.defaults):
            if (value := values.get(key)) is not None:
                return value
        return None

    def on_change(self, name: str, listener: Listener) -> Callable[[], None]:
        """Call a function with the new value whenever a secret of the service changes.

        It is called in the event loop, so it must be quick. What it raises is logged.

        Returns:
            Call it to hear no more.
        """
        entry = (name, listener)
        self._listeners.append(entry)
        return lambda: self._listeners.remove(entry)

    async def refresh(self) -> None:
        """Look now whether the store has new values, instead of at the next interval."""
        await self._store().refresh()

    # --- other secrets ---

    async def get(self, path: str, *, version: int | None = None) -> Secret | None:
        """Read a document, or an older version of it; None when there is none.

        Raises:
            SecretsUnavailableError: the store does not answer, or refuses.
            ValueError: it is no path.
        """
        return await self._store().get(_checked(path), version)

    async def put(
        self, path: str, values: Mapping[str, str | SecretStr], *, version: int | None = None
    ) -> int:
        """Write a document and give its new version.

        Args:
            path: relative to the service's place in the store.
            values: replace all values that it has.
            version: write only if this is still its version; 0 = only if there is none.

        Raises:
            SecretConflictError: it has another version.
            SecretsUnavailableError: the store does not answer, or refuses.
            ValueError: it is no path.
        """
        plain = {name: _plain(value) for name, value in values.items()}
        return await self._store().put(_checked(path), plain, version)

    async def delete(self, path: str) -> None:
        """Remove a document; nothing happens when there is none.

        Raises:
            SecretsUnavailableError: the store does not answer, or refuses.
            ValueError: it is no path.
        """
        await self._store().delete(_checked(path))

    async def list(self, path: str = "") -> Sequence[str]:
        """Name the documents below a path, in order.

        Raises:
            SecretsUnavailableError: the store does not answer, or refuses.
            ValueError: it is no path.
        """
        return await self._store().list(_checked(path) if path else "")

    # --- life ---

    @contextmanager
    def given_by(self, settings: AppSettings) -> Iterator[None]:
        """Know what the settings say, and hear of changes, until the block is left."""
        before = self._state
        self._state = _State(_Given(settings), None, {})
        try:
            yield
        finally:
            self._state = before

    def use(self, store: Store) -> None:
        """Send every question to this store from now on."""
        self._running().store = store

    def take_up(self, values: Values) -> None:
        """Replace what the store has said, and tell whoever waits for a change.

        A value that would stop the start is not taken up: the last one stays.
        """
        state = self._running()
        before = {name: self.current(name) for name, _ in self._listeners}
        said = {name.lower(): value for name, value in values.items()}
        fit = {name: value for name, value in said.items() if _is_fit(state, name, value)}
        kept = {
            name: state.stored[name] for name in state.stored.keys() & {*said, *state.given.needed}
        }
        state.stored = {**kept, **fit}
        for name, listener in list(self._listeners):
            if (value := self.current(name)) != before[name]:
                _tell(name, listener, value)

    def describe(self) -> Details:
        """Say how the store is, for operators.

        Raises:
            Exception: it is out of reach.
        """
        return self._store().describe()

    def _running(self) -> _State:
        if self._state is None:
            raise RuntimeError(_NOT_STARTED)
        return self._state

    def _store(self) -> Store:
        store = self._running().store
        if store is None:
            raise RuntimeError(_NOT_STARTED)
        return store


def _is_fit(state: _State, name: str, value: SecretStr) -> bool:
    """Whether the service would start with a value; else the log says why not."""
    if value == state.stored.get(name):
        return True
    problems = _problems(state.given.settings, name, value)
    if problems:
        log.error("a new secret is refused", variable=name.upper(), reason=problems[0])
    return not problems


def _problems(settings: AppSettings, name: str, value: SecretStr) -> list[str]:
    if name not in type(settings).model_fields:
        return []
    changed = settings.model_copy()
    try:
        # Not by making new settings: those would ask every source again.
        type(changed).__pydantic_validator__.validate_assignment(
            changed, name, value.get_secret_value()
        )
    except ValidationError as error:
        return [problem["msg"] for problem in error.errors(include_input=False)]
    before = refused(settings)
    return [problem for problem in refused(changed) if problem not in before]


def _tell(name: str, listener: Listener, value: SecretStr | None) -> None:
    try:
        listener(value)
    except Exception:
        log.exception("a listener failed", variable=name)


def _as_secret(value: object) -> SecretStr | None:
    if value is None or isinstance(value, SecretStr):
        return value
    return SecretStr(str(value))


def _plain(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _checked(path: str) -> str:
    if not path or any(part in {"", ".", ".."} for part in path.split("/")):
        raise ValueError("a path is names with single slashes between them, such as stripe/keys")
    return path


secrets = Secrets()
