"""A service behind real parts of others: a certified OpenID provider signs its callers in."""

import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import jwt
import pytest

from tests.support.answers import Resolver
from tests.support.node import NotAvailableError
from tests.support.openid import (
    AUDIENCE,
    OTHER_AUDIENCE,
    Provider,
    openid_provider,
)
from tests.support.render import Renderer
from tests.support.runs import Running, environment, free_port, python, running
from tests.support.template import Template

TEMPLATE = Template()
RENDERER = Renderer(TEMPLATE)
ME = "/api/v1/auth/me"


OF_ACCOUNTS = (b"auth.local", b"pwdlib", b"argon2", b'"users"', b'"/login"', b'"/register"')
"""What only a service says that has users of its own."""


@pytest.mark.parametrize("auth", TEMPLATE.questions["auth"].choices)
def test_only_local_sign_in_brings_accounts(auth: str) -> None:
    tree = RENDERER.tree(Resolver(TEMPLATE).resolve({"auth": auth}))
    run = [text for path, text in tree.items() if path.startswith(("app/", "migrations/", "pyp"))]
    found = [word for word in OF_ACCOUNTS if any(word in text for text in run)]
    assert found == (list(OF_ACCOUNTS) if auth == "local" else [])


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    try:
        with openid_provider() as provider:
            yield provider
    except NotAvailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Path:
    answers = Resolver(TEMPLATE).resolve({"auth": "oidc", "database": "sqlite"})
    return RENDERER.write(RENDERER.tree(answers), tmp_path_factory.mktemp("identity") / "service")


@contextmanager
def serving(service: Path, provider: Provider) -> Iterator[Running]:
    """Run the service as it is deployed, but for the provider's plain HTTP."""
    port = free_port()
    variables = {
        "ENVIRONMENT": "staging",
        "SECRET_KEY": "for-tests-only",
        "DATABASE_URL": f"sqlite:///{service}/identity-{port}.db",
        "OIDC_ISSUER": provider.issuer,
        "OIDC_AUDIENCE": AUDIENCE,
        "SHUTDOWN_DRAIN_SECONDS": "0",
    }
    python(service, "-m", "app.core.migrate", **variables)
    command = [sys.executable, "-m", "app"]
    with running(command, service, port, environment(**variables, PORT=str(port))) as server:
        server.wait_until("/ready")
        yield server
        server.stop(signal.SIGTERM)


def ask(server: Running, token: str, path: str = ME) -> httpx2.Response:
    """Ask the service for something, with a token."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx2.get(f"{server.url}{path}", headers=headers, timeout=60)


def test_tokens_of_a_real_provider_are_accepted(service: Path, provider: Provider) -> None:
    with serving(service, provider) as server:
        server.wait_until_all_are_up({"auth"})

        me = ask(server, provider.machine_token(scope="read write"))
        assert me.status_code == 200, me.text
        assert me.json() == {
            "subject": "a-machine",
            "provider": "oidc",
            "tenant": "acme",
            "roles": ["auditor"],
            "scopes": ["read", "write"],
        }
        assert ask(server, provider.machine_token(), "/api/v1/projects").status_code == 200

        tokens = provider.tokens_of("ada")
        assert ask(server, tokens["access_token"]).json()["subject"] == "ada"
        assert ask(server, tokens["id_token"]).status_code == 401

        assert ask(server, provider.machine_token(OTHER_AUDIENCE)).status_code == 401
        head, _, tail = provider.machine_token().rpartition(".")
        assert ask(server, f"{head}.{tail[::-1]}").status_code == 401
        assert server.get(ME).status_code == 401
        assert server.get("/api/v1/projects").status_code == 401
    assert not [line for line in server.output if "Traceback" in line]


def test_the_provider_changes_its_keys(service: Path, provider: Provider) -> None:
    old = provider.machine_token()
    provider.order("rotate")
    with serving(service, provider) as server:
        new = provider.machine_token()
        assert key_id(old) != key_id(new)
        assert ask(server, old).status_code == 200
        assert ask(server, new).status_code == 200
        provider.order("forget")
        assert ask(server, new).status_code == 200
    with serving(service, provider) as server:
        assert ask(server, new).status_code == 200
        assert ask(server, old).status_code == 401


@pytest.mark.parametrize("auth", ["supabase", "clerk", "oidc"])
def test_development_needs_no_account(auth: str, place: Path) -> None:
    """`make dev` brings an issuer of its own, whose tokens outlive a restart."""
    answers = Resolver(TEMPLATE).resolve({"auth": auth, "database": "sqlite"})
    directory = RENDERER.write(RENDERER.tree(answers), place)
    command = [sys.executable, "-m", "app.core.development"]
    port = free_port()
    tokens = []
    for _ in range(2):
        with running(command, directory, port, environment(PORT=str(port))) as server:
            server.wait_until("/ready")
            said = "\n".join(server.output)
            [tried] = re.findall(r'curl -H "Authorization: Bearer (\S+)" (\S+)', said)
            [others] = re.findall(r"http://\S+/token\?\S+", said)
            tokens += [tried[0], httpx2.get(others, timeout=60).text.strip()]
            assert tried[1] == f"{server.url}{ME}"
            asked = [ask(server, token) for token in tokens]
            assert {answer.status_code for answer in asked} == {200}
            assert asked[0].json()["roles"] == ["admin"]
            assert asked[1].json()["subject"] == "ada"
            assert server.get(ME).status_code == 401
            server.stop(signal.SIGINT, group=True)
    assert not [line for line in server.output if "Traceback" in line]


def key_id(token: str) -> str:
    """Read which key has signed a token."""
    return str(jwt.get_unverified_header(token)["kid"])
