"""Signing in while developing: it works without an account, and only while developing."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import httpx2
import pytest

from app.config import Settings
from app.core.application import create_app
from app.core.development import issuer as module
from app.core.development.issued import variables
from app.core.development.issuer import REQUIRED, DevelopmentIssuer, name_issuer, running_issuer
from tests.core.issuing.base import bearer
from tests.core.plugin import caller_of, with_changes

ME = "/api/v1/auth/me"
VARIABLES = [name.upper() for name in REQUIRED]


@pytest.fixture
def development_issuer(tmp_path: Path) -> Iterator[DevelopmentIssuer]:
    issuer = DevelopmentIssuer(tmp_path)
    with issuer.serving():
        yield issuer


@pytest.fixture
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment of a developer who has just rendered the service."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENVIRONMENT", "development")
    for name in variables("http://127.0.0.1:1"):
        monkeypatch.setenv(name, "")  # is restored after the test, whatever it sets


def given() -> list[str]:
    return [name for name in VARIABLES if os.environ.get(name)]


async def test_the_service_believes_it(
    development_issuer: DevelopmentIssuer, settings: Settings, rolled_back: None
) -> None:
    named = {name.lower(): value for name, value in variables(development_issuer.url).items()}
    query = "subject=ada&tenant=acme&roles=auditor&scopes=read,write"
    answer = httpx2.get(f"{development_issuer.url}/token?{query}")
    async with caller_of(create_app(with_changes(settings, **named)), headers={}) as caller:
        me = (await caller.get(ME, headers=bearer(answer.text.strip()))).json()
        nobody = (await caller.get(ME, headers=bearer(development_issuer.token()))).json()
    assert (me["subject"], me["tenant"], me["roles"]) == ("ada", "acme", ["auditor"])
    assert me["scopes"] == ["read", "write"]
    assert (nobody["subject"], nobody["tenant"], nobody["roles"]) == ("developer", None, [])


def test_tokens_outlive_a_restart(tmp_path: Path) -> None:
    first, second = DevelopmentIssuer(tmp_path), DevelopmentIssuer(tmp_path / "other")
    with first.serving(), second.serving():
        published = first.key_set()
        assert published != second.key_set()
    again = DevelopmentIssuer(tmp_path)
    with again.serving():
        assert again.url == first.url
        assert again.key_set() == published


def test_another_port_is_found(development_issuer: DevelopmentIssuer) -> None:
    again = DevelopmentIssuer(development_issuer.home)
    with again.serving():
        assert again.url != development_issuer.url


def test_only_the_developer_s_own_requests_are_answered(
    development_issuer: DevelopmentIssuer,
) -> None:
    address = f"{development_issuer.url}/token"
    assert httpx2.get(address).status_code == 200
    assert httpx2.get(address, headers={"Host": "evil.example.com"}).status_code == 404
    assert httpx2.get(f"{address}?admin=yes").status_code == 404
    assert httpx2.get(f"{development_issuer.url}/{module.HOME}/port").status_code == 404


def test_the_key_is_the_developer_s_alone(development_issuer: DevelopmentIssuer) -> None:
    development_issuer.token()
    [file] = development_issuer.home.glob("*.pem")
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("nothing_set")
def test_it_takes_the_place_of_a_provider_that_is_not_set() -> None:
    with running_issuer("http://127.0.0.1:8000/api/v1") as said:
        assert given() == VARIABLES
        assert any("curl" in text and "/api/v1/auth/me" in text for text in said.values())


@pytest.mark.usefixtures("nothing_set")
def test_commands_that_serve_nobody_need_no_provider_either() -> None:
    name_issuer()
    assert given() == VARIABLES
    assert not Path(".local").exists()


@pytest.mark.usefixtures("nothing_set")
@pytest.mark.parametrize("environment", ["test", "staging", "production"])
def test_it_is_for_development_only(environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", environment)
    monkeypatch.setenv("SECRET_KEY", token_hex(32))
    monkeypatch.setenv("ALLOWED_HOSTS", "api.example.com")
    name_issuer()
    with running_issuer("http://127.0.0.1:8000/api/v1") as said:
        assert (said, given()) == ({}, [])


@pytest.mark.usefixtures("nothing_set")
@pytest.mark.parametrize("name", VARIABLES)
def test_a_provider_that_is_set_counts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "https://login.example.com")
    name_issuer()
    with running_issuer("http://127.0.0.1:8000/api/v1") as said:
        assert (said, given()) == ({}, [name])


def test_nothing_that_is_served_knows_of_it() -> None:
    for file in Path("app").rglob("*.py"):
        if file.parts[:3] != ("app", "core", "development"):
            for node in ast.walk(ast.parse(file.read_text())):
                modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                if isinstance(node, ast.Import):
                    modules = [alias.name for alias in node.names]
                assert not any(name.startswith("app.core.development") for name in modules), file
