"""The port of secrets: it is always there, whatever stands behind it."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.config import Settings
from app.core.application import create_app
from app.core.secrets import OAuthClient, oauth_client, secrets
from app.core.secrets.environment import MemoryStore
from tests.core.plugin import with_changes
from tests.core.stores import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def started(self, settings: Settings) -> Iterator[None]:
        with secrets.given_by(settings):
            secrets.use(MemoryStore())
            yield


async def test_the_present_value_of_a_setting_is_at_hand(app: FastAPI, settings: Settings) -> None:
    assert secrets.current("SECRET_KEY") == settings.secret_key
    assert secrets.current("project_name") == SecretStr(settings.project_name)
    assert secrets.current("DATABASE_REPLICA_URL_NOWHERE") is None


async def test_other_variables_too(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITLAB_CLIENT_ID", "me")
    monkeypatch.setenv("GITLAB_CLIENT_SECRET", "hunter2")
    other = create_app(settings)
    async with other.router.lifespan_context(other):
        client = oauth_client("gitlab")
        with pytest.raises(LookupError, match="BITBUCKET_CLIENT_ID is not set"):
            oauth_client("bitbucket")
    assert client == OAuthClient("me", SecretStr("hunter2"))
    assert "hunter2" not in repr(client)


async def test_documents_can_be_kept(app: FastAPI) -> None:
    await secrets.put("notes", {"KEY": "x"})
    assert await secrets.list() == ["notes"]
    await secrets.refresh()


async def test_a_second_application_gives_back_what_it_took(
    app: FastAPI, settings: Settings
) -> None:
    key = SecretStr("of the second application only!!")
    other = create_app(with_changes(settings, secret_key=key))
    async with other.router.lifespan_context(other):
        assert secrets.current("SECRET_KEY") == key
    assert secrets.current("SECRET_KEY") == settings.secret_key


def test_changes_are_told_to_whoever_listens(settings: Settings) -> None:
    heard: list[SecretStr | None] = []

    def fails(_: SecretStr | None) -> None:
        raise RuntimeError

    with secrets.given_by(settings):
        stop_failing = secrets.on_change("JWT_SECRET_OF_A_TEST", fails)
        stop = secrets.on_change("JWT_SECRET_OF_A_TEST", heard.append)
        for value in ("one", "one", "two"):
            secrets.take_up({"JWT_SECRET_OF_A_TEST": SecretStr(value)})
        stop()
        stop_failing()
        secrets.take_up({})
    assert heard == [SecretStr("one"), SecretStr("two")]


def test_what_was_said_at_the_start_wins_over_the_store(settings: Settings) -> None:
    told = with_changes(settings, secret_key=SecretStr("said by an argument, so it stays"))
    with secrets.given_by(told):
        secrets.take_up({"SECRET_KEY": SecretStr("said by the store")})
        assert secrets.current("SECRET_KEY") == told.secret_key


def test_outside_of_the_lifespan_they_are_refused() -> None:
    with pytest.raises(RuntimeError, match="outside of the application's lifespan"):
        type(secrets)().current("SECRET_KEY")
