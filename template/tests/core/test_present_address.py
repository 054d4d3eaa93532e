"""While a password is changed, the server may want the old one or the new one."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import URL, make_url
from sqlalchemy.util import greenlet_spawn

from app.config import Settings
from app.core.database import engine
from app.core.database.address import PresentAddress
from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.settings import driver_url
from app.core.secrets import secrets
from app.core.secrets.environment import MemoryStore

OLD, NEW = (SecretStr(f"{FLAVOUR.schemes[0]}://me:{word}@host:1/name") for word in ("old", "new"))


async def test_the_address_before_a_change_is_tried_too(settings: Settings) -> None:
    with secrets.given_by(settings):
        secrets.use(MemoryStore())
        secrets.take_up({"AN_ADDRESS": OLD})
        address = PresentAddress(driver_url(OLD), "an_address")
        assert address.newest() == driver_url(OLD)
        secrets.take_up({"AN_ADDRESS": NEW})
        assert address.newest() == driver_url(NEW)
        tried = await greenlet_spawn(lambda: list(address.others()))
    assert tried == [driver_url(OLD), driver_url(NEW)]


Connect = Callable[[Any], str]

AWAY = ConnectionRefusedError()


class RefusedError(Exception):
    """The server does not accept a login."""


class Server:
    """A dialect whose server reacts to each password in some way, or accepts it."""

    def __init__(self, **reactions: Exception) -> None:
        self.reactions = reactions
        self.tried: list[str] = []

    def create_connect_args(self, url: URL) -> tuple[list[Any], dict[str, Any]]:
        return [url.password], {}

    def connect(self, password: str) -> str:
        self.tried.append(password)
        if password in self.reactions:
            raise self.reactions[password]
        return f"connected by {password}"


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Connect by the addresses "first", which is the newest, "second" and "third"."""
    flavour = SimpleNamespace(refused_login=lambda error: isinstance(error, RefusedError))
    monkeypatch.setattr(engine, "FLAVOUR", flavour)
    first, *others = (make_url(f"some://me:{word}@host") for word in ("first", "second", "third"))
    address: Any = SimpleNamespace(first=first, newest=lambda: first, others=lambda: iter(others))
    connect = engine._follow(address)
    return lambda server: str(connect(server, ["first"], {}))


def test_the_next_one_is_tried_where_a_login_is_refused(connect: Connect) -> None:
    server = Server(first=RefusedError(), second=RefusedError())
    assert connect(server) == "connected by third"
    assert server.tried == ["first", "second", "third"]


def test_no_other_is_tried_when_the_server_is_away(connect: Connect) -> None:
    for server in (Server(first=AWAY), Server(first=RefusedError(), second=AWAY)):
        with pytest.raises(ConnectionRefusedError):
            connect(server)
        assert server.tried[-1] in server.reactions
        assert "third" not in server.tried


def test_a_login_that_is_refused_everywhere_is_refused(connect: Connect) -> None:
    server = Server(first=RefusedError(), second=RefusedError(), third=RefusedError())
    with pytest.raises(RefusedError):
        connect(server)
