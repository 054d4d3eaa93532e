import base64

import pytest

from app.core.database import uuid7
from app.core.database.pagination import PageRequest
from app.core.errors import BadRequestError


def page(cursor: str | None, secret: bytes = b"secret") -> PageRequest:
    return PageRequest(limit=10, cursor=cursor, sort=None, secret=secret)


def test_a_cursor_leads_back_to_its_row() -> None:
    position = ["name", 7, str(uuid7())]
    cursor = page(None).cursor_after("projects", position)
    assert page(cursor).position("projects") == position
    assert page(None).position("projects") is None


def forged() -> str:
    return base64.urlsafe_b64encode(bytes(16) + b"[1]").decode()


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "not base64!", "ä", "a" * 200, "AAAA", forged(), "\x00"],
)
def test_a_made_up_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(BadRequestError):
        page(cursor).position("projects")


def test_a_cursor_serves_only_its_own_list_and_service() -> None:
    cursor = page(None).cursor_after("projects", [1])
    with pytest.raises(BadRequestError):
        page(cursor).position("documents")
    with pytest.raises(BadRequestError):
        page(cursor, secret=b"another service").position("projects")


def test_a_changed_cursor_is_refused() -> None:
    cursor = page(None).cursor_after("projects", [1])
    other = ("B" if cursor[0] == "A" else "A") + cursor[1:]
    with pytest.raises(BadRequestError):
        page(other).position("projects")
