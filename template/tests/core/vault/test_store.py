"""Documents in a real Vault, and the logins by which the service gets there."""

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import time
from uuid import uuid4

import pytest
from fastapi import FastAPI
from hvac.exceptions import VaultDown
from pydantic import SecretStr
from requests import ConnectionError as RequestsConnectionError

from app.config import Settings
from app.core.application import create_app
from app.core.secrets import OAuthClient, Secret, SecretsUnavailableError, oauth_client, secrets
from app.core.secrets.vault.address import VaultAddress
from app.core.secrets.vault.session import Session
from app.core.secrets.vault.store import VaultStore
from app.core.settings import load_settings
from tests.core.migrating import as_environment
from tests.core.plugin import Addresses
from tests.core.stores import StoreContract
from tests.core.vault.conftest import enter
from tests.core.vault.servers import Place, Vault, new_place


class TestVaultStore(StoreContract):
    @pytest.fixture
    async def started(
        self, vault: Vault, addresses: Addresses, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[None]:
        """A service that may write below its place, as service.hcl shows in a comment."""
        place = new_place(vault, with_comments=True)
        place.write(**as_environment(addresses))
        enter(place, monkeypatch)
        app = create_app(load_settings(Settings))
        async with app.router.lifespan_context(app):
            yield


async def test_what_the_policy_forbids_is_unavailable(running: FastAPI) -> None:
    with pytest.raises(SecretsUnavailableError) as refused:
        await secrets.put("keys/stripe", {"KEY": "hunter2"})
    assert "hunter2" not in f"{refused.value} {refused.value.__cause__}"
    assert await secrets.get("keys/stripe") is None
    assert secrets.describe()["source"] == "vault"


async def test_what_passes_is_tried_again(
    running: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, troubles = Session.read, [RequestsConnectionError(), VaultDown()]

    def read_at_last(self: Session, path: str, version: int | None) -> Secret | None:
        if troubles:
            raise troubles.pop()
        return read(self, path, version)

    monkeypatch.setattr(Session, "read", read_at_last)
    assert await secrets.get("keys/stripe") is None
    assert troubles == []


@pytest.mark.parametrize("known", [True, False], ids=["logged in", "not yet"])
async def test_what_is_no_vault_is_out_of_reach(
    place: Place, running: FastAPI, known: bool
) -> None:
    """Such as the page of a proxy: a good answer, and none of Vault's."""
    variables = {name.lower(): value for name, value in place.environment().items()}
    session = Session(VaultAddress.model_validate(variables))
    if known:
        session.read_own()

    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<p>We are back soon</p>")

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        session._client.url = f"http://127.0.0.1:{server.server_port}"
        store = VaultStore(session, 60, lambda _: None)
        await store.refresh()
        server.shutdown()
        thread.join()
    with pytest.raises(ConnectionError, match="is no Vault"):
        store.describe()


async def test_nothing_is_no_value(place: Place, running: FastAPI) -> None:
    place.change(NOTHING=None, SOMETHING="x")  # type: ignore[arg-type]
    await secrets.refresh()
    assert (secrets.current("NOTHING"), secrets.current("SOMETHING")) == (None, SecretStr("x"))


async def test_credentials_of_oauth_come_from_vault(
    place: Place,
) -> None:
    place.change(GITHUB_CLIENT_ID="me", GITHUB_CLIENT_SECRET="hunter2")  # noqa: S106
    app = create_app(load_settings(Settings))
    async with app.router.lifespan_context(app):
        assert oauth_client("github") == OAuthClient("me", SecretStr("hunter2"))


def test_a_token_is_a_login(
    vault: Vault, place: Place, addresses: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = vault.root.auth.token.create(policies=[place.path], ttl="1h", no_parent=True)
    for name in ("VAULT_ROLE_ID", "VAULT_SECRET_ID"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("VAULT_TOKEN", made["auth"]["client_token"])
    assert set(addresses) <= load_settings(Settings).from_store


def test_a_kubernetes_account_is_a_login(
    vault: Vault,
    place: Place,
    addresses: Addresses,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Vault's JWT method is asked in the same words as its Kubernetes method.

    The account's token is really signed, and really verified by Vault; only that it asks no
    Kubernetes whether the account still exists.
    """
    root, mount = vault.root, f"kubernetes-{uuid4().hex[:8]}"
    root.sys.enable_secrets_engine("transit", path=mount)
    root.secrets.transit.create_key("account", key_type="ecdsa-p256", mount_point=mount)
    key = root.secrets.transit.read_key("account", mount_point=mount)["data"]["keys"]["1"]
    root.sys.enable_auth_method("jwt", path=mount)
    root.auth.jwt.configure(jwt_validation_pubkeys=[key["public_key"]], path=mount)
    root.auth.jwt.create_role(
        "web",
        user_claim="sub",
        allowed_redirect_uris=[],
        role_type="jwt",
        bound_audiences=["vault"],
        bound_subject="system:serviceaccount:production:web",
        token_policies=[place.path],
        path=mount,
    )
    for name in ("VAULT_ROLE_ID", "VAULT_SECRET_ID"):
        monkeypatch.delenv(name)
    token = tmp_path / "token"
    monkeypatch.setenv("VAULT_K8S_ROLE", "web")
    monkeypatch.setenv("VAULT_K8S_TOKEN_PATH", str(token))
    monkeypatch.setenv("VAULT_AUTH_MOUNT", mount)

    claims = {"sub": "system:serviceaccount:production:web", "aud": "vault", "exp": time() + 60}
    token.write_text(signed(vault, mount, claims) + "\n", "utf-8")
    assert set(addresses) <= load_settings(Settings).from_store

    monkeypatch.setenv("VAULT_TIMEOUT", "4")  # another session
    token.write_text(signed(vault, mount, claims | {"sub": "somebody else"}), "utf-8")
    with pytest.raises(SystemExit, match="refuses the login: mend VAULT_K8S_ROLE"):
        load_settings(Settings)
    token.unlink()
    with pytest.raises(SystemExit, match="VAULT_K8S_TOKEN_PATH cannot be read"):
        load_settings(Settings)


def signed(vault: Vault, mount: str, claims: Mapping[str, object]) -> str:
    """Make the token of an account."""
    parts = [{"alg": "ES256", "typ": "JWT"}, claims]
    text = ".".join(urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts)
    answer = vault.root.secrets.transit.sign_data(
        "account",
        hash_input=b64encode(text.encode()).decode(),
        marshaling_algorithm="jws",
        mount_point=mount,
    )
    return f"{text}.{answer['data']['signature'].rpartition(':')[2]}"
