"""An address may name other variables, where a platform hands out its parts each for itself."""

import pytest
from pydantic import SecretStr

from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.settings import driver_url

AWKWARD = "a/b+c=@:?#%é"
"""All that would end a part of an address; the secrets that platforms make have some of it."""
ADDRESS = SecretStr(f"{FLAVOUR.schemes[0]}://user:${{A_PASSWORD}}@${{A_HOST}}:1234/name")


def test_parts_come_from_other_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_PASSWORD", AWKWARD)
    monkeypatch.setenv("A_HOST", "database-0123")
    url = driver_url(ADDRESS)
    assert (url.username, url.password, url.host) == ("user", AWKWARD, "database-0123")
    assert (url.port, url.database) == (1234, "name")


@pytest.mark.parametrize("value", [None, ""])
def test_a_part_that_is_not_set_is_named(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.setenv("A_PASSWORD", AWKWARD)
    monkeypatch.delenv("A_HOST", raising=False)
    if value is not None:
        monkeypatch.setenv("A_HOST", value)
    with pytest.raises(ValueError, match="names A_HOST, which is not set"):
        driver_url(ADDRESS)
