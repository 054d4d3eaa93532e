"""The key that signs tokens is replaced: published first, then used."""

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from app.core.secrets.port import SecretsUnavailableError
from app.core.secrets.vault import rotate
from app.core.secrets.vault.address import VaultAddress
from app.core.secrets.vault.rotate import main, rotate_jwt_secret
from app.core.secrets.vault.session import Session
from app.core.secrets.vault.store import VaultStore
from tests.core.vault.conftest import enter
from tests.core.vault.servers import Place, Vault, new_place

OTHER = {"DATABASE_URL": "untouched", "JWT_SECRET_OF_SOMEBODY": "untouched"}


@pytest.fixture
def keys(vault: Vault) -> Place:
    """A place with a key, for whom the policy of the rotation is meant."""
    place = new_place(vault, policy="rotation")
    place.write(JWT_SECRET="a", **OTHER)  # noqa: S106
    return place


def store_of(place: Place) -> VaultStore:
    variables = {name.lower(): value for name, value in place.environment().items()}
    return VaultStore(Session(VaultAddress.model_validate(variables)), 1, lambda _: None)


def state(place: Place) -> list[str | None]:
    """Previous, current and next key; what else is there must stay."""
    values = place.read()
    names = ("JWT_SECRET_PREVIOUS", "JWT_SECRET", "JWT_SECRET_NEXT")
    three = [values.pop(name, None) for name in names]
    assert values == OTHER
    return three


class Interrupted(Exception):  # noqa: N818 - it is no error of ours
    """The process has ended."""


async def interrupt(_: float) -> None:
    raise Interrupted


async def test_a_key_is_published_before_it_signs(keys: Place) -> None:
    seen: list[Any] = []

    async def look(seconds: float) -> None:
        seen.extend([seconds, *state(keys)])

    assert await rotate_jwt_secret(store_of(keys), 30, pause=look)
    seconds, *(previous, current, following) = seen
    assert (seconds, previous, current) == (30, None, "a")
    assert len(following) >= 32
    assert state(keys) == ["a", following, None]

    seen.clear()
    assert await rotate_jwt_secret(store_of(keys), 30, pause=look)
    assert seen[1:3] == ["a", following]
    assert state(keys) == [following, seen[3], None]
    assert seen[3] not in {"a", following}


async def test_the_first_key_comes_in_the_same_way(vault: Vault) -> None:
    place = new_place(vault, policy="rotation")
    place.write(**OTHER)
    assert await rotate_jwt_secret(store_of(place), 0)
    previous, current, following = state(place)
    assert (previous, following) == (None, None)
    assert current


async def test_an_interrupted_rotation_goes_on_with_the_same_key(keys: Place) -> None:
    with pytest.raises(Interrupted):
        await rotate_jwt_secret(store_of(keys), 0, pause=interrupt)
    _, _, published = state(keys)
    with pytest.raises(Interrupted):
        await rotate_jwt_secret(store_of(keys), 0, pause=interrupt)
    assert state(keys) == [None, "a", published]
    assert await rotate_jwt_secret(store_of(keys), 0)
    assert state(keys) == ["a", published, None]


async def test_several_at_once_make_one_new_key(keys: Place) -> None:
    together = asyncio.Barrier(5)

    async def wait(_: float) -> None:
        await together.wait()

    stores = [store_of(keys) for _ in range(5)]
    moved = await asyncio.gather(*(rotate_jwt_secret(s, 0, pause=wait) for s in stores))
    assert sorted(moved) == [False, False, False, False, True]
    previous, current, following = state(keys)
    assert (previous, following) == ("a", None)
    assert current != "a"


async def test_a_key_that_was_not_waited_for_is_not_used(keys: Place) -> None:
    """While one waits, others finish its rotation and publish the key of the next one."""
    published: list[str | None] = []

    async def others(_: float) -> None:
        await rotate_jwt_secret(store_of(keys), 0)
        with pytest.raises(Interrupted):
            await rotate_jwt_secret(store_of(keys), 0, pause=interrupt)
        published.extend(state(keys))

    assert not await rotate_jwt_secret(store_of(keys), 0, pause=others)
    assert state(keys) == published


async def test_what_others_write_meanwhile_is_kept(keys: Place) -> None:
    async def write(_: float) -> None:
        keys.change(DATABASE_URL="written meanwhile")

    assert await rotate_jwt_secret(store_of(keys), 0, pause=write)
    assert keys.read()["DATABASE_URL"] == "written meanwhile"


async def test_the_service_itself_may_not_rotate(vault: Vault) -> None:
    place = new_place(vault)
    place.write(JWT_SECRET="a", **OTHER)  # noqa: S106
    with pytest.raises(SecretsUnavailableError):
        await rotate_jwt_secret(store_of(place), 0)
    assert state(place) == [None, "a", None]


# --- the command ------------------------------------------------------------------------------


def test_the_command(
    keys: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    enter(keys, monkeypatch)
    monkeypatch.setattr(rotate, "READERS_SECONDS", 0)
    main()
    previous, current, _ = state(keys)
    assert previous == "a"
    said = capsys.readouterr()
    assert said.out == "The new key is published; it signs in 0 s\nDone\n"
    assert str(current) not in f"{said}"


def test_what_goes_wrong_is_said_beside_the_output(
    keys: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(keys, monkeypatch)
    done = subprocess.run(
        [sys.executable, "-m", "app.core.secrets.vault.rotate"],
        env={**os.environ, "VAULT_PATH": "elsewhere"},
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert (done.returncode, done.stdout) == (1, "")
    logged, said = done.stderr.splitlines()
    assert json.loads(logged)["event"] == "vault refuses"
    assert said == "rotation: The store of secrets does not answer"


def test_a_place_without_a_secret_has_no_key_to_replace(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(new_place(vault, policy="rotation"), monkeypatch)
    with pytest.raises(SystemExit, match=r"^rotation: .*make vault-seed"):
        main()


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("VAULT_ADDR", "", "VAULT_ADDR is required"),
        ("VAULT_TOKEN", "x", "exactly one way to log in"),
        ("VAULT_ADDR", "http://127.0.0.1:9", "does not answer"),
        ("VAULT_SECRET_ID", "x", "refuses the login"),
        ("VAULT_PATH", "elsewhere", "does not answer"),
        ("JWT_SECRET", "x", "JWT_SECRET is in the environment, which wins"),
    ],
)
def test_the_command_says_what_is_wrong(
    keys: Place, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, line: str
) -> None:
    enter(keys, monkeypatch)
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit, match=f"^rotation: .*{line}"):
        main()
    assert state(keys) == [None, "a", None]
