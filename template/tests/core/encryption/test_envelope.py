"""Sealed values: whoever changes or moves one does not get it opened."""

import base64

import pytest

from app.core.encryption.envelope import DecryptionError, version_of
from app.core.encryption.port import Encryption
from tests.core.encryption.keyrings import keyring

HERE = b"a place"


@pytest.mark.parametrize("plain", [b"", b"x", "Ünïcode ✓".encode(), bytes(range(256)) * 100])
def test_what_is_sealed_is_opened(plain: bytes) -> None:
    keys = keyring(1)
    assert keys.open(keys.seal(plain, HERE), HERE) == plain


def test_nothing_of_the_value_is_seen_and_no_two_are_alike() -> None:
    sealed = {keyring(1).seal(b"secret text", HERE) for _ in range(100)}
    assert len(sealed) == 100
    assert len({each[: len("v1.") + 54] for each in sealed}) == 100  # each has its own key
    for each in sealed:
        assert b"secret" not in base64.urlsafe_b64decode(each[3:] + "==")


def test_every_single_change_is_noticed() -> None:
    keys = keyring(1)
    sealed = keys.seal(b"text", HERE)
    content = base64.urlsafe_b64decode(sealed[3:] + "=" * (-len(sealed[3:]) % 4))
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1
        with pytest.raises(DecryptionError, match="changed or moved"):
            keys.open(f"v1.{base64.urlsafe_b64encode(changed).decode().rstrip('=')}", HERE)


@pytest.mark.parametrize("kept", [3, 4, 7, 40, 60, 75, 90])
def test_what_is_cut_off_is_noticed(kept: int) -> None:
    keys = keyring(1)
    with pytest.raises(DecryptionError):
        keys.open(keys.seal(b"some longer text", HERE)[:kept], HERE)


@pytest.mark.parametrize(
    "text", ["", "text", "v1", "v1.", "v1.ä", "v1.a b", "vx.YQ", "1.YQ", "v1.A"]
)
def test_what_was_never_sealed_is_noticed(text: str) -> None:
    with pytest.raises(DecryptionError):
        keyring(1).open(text, HERE)


def test_a_value_belongs_to_its_place() -> None:
    keys = keyring(1)
    with pytest.raises(DecryptionError, match="changed or moved"):
        keys.open(keys.seal(b"text", HERE), b"elsewhere")


def test_the_parts_of_a_place_are_kept_apart() -> None:
    port = Encryption()
    with port.using(keyring(1)):
        sealed = port.seal("text", "ab", "c")
        for place in (("a", "bc"), ("abc",), ("ab", "c", ""), ("ab c",)):
            with pytest.raises(DecryptionError):
                port.open(sealed, *place)


def test_another_master_key_opens_nothing() -> None:
    sealed = keyring(2).seal(b"text", HERE)
    with pytest.raises(DecryptionError, match="version 2 is not in the secret file"):
        keyring(1).open(sealed, HERE)
    with pytest.raises(DecryptionError, match="the master key is another one"):
        keyring(1).open(sealed.replace("v2.", "v1."), HERE)


def test_old_values_are_opened_and_new_ones_use_the_current_key() -> None:
    old = keyring(1).seal(b"text", HERE)
    both = keyring(2, 1)
    new = both.seal(b"text", HERE)
    assert (both.open(old, HERE), both.open(new, HERE)) == (b"text", b"text")
    assert (version_of(old), version_of(new)) == (1, 2)


def test_a_key_that_is_known_but_not_current_seals_nothing_yet() -> None:
    staged = keyring(1, 2)
    assert version_of(staged.seal(b"text", HERE)) == 1
    assert staged.open(keyring(2).seal(b"text", HERE), HERE) == b"text"


def test_what_was_sealed_by_hand_outlives_its_key_once_it_is_sealed_anew() -> None:
    port = Encryption()
    with port.using(keyring(1)):
        sealed = port.seal("text", "exports", "1")
    with port.using(keyring(2, 1)):
        anew = port.reseal(sealed, "exports", "1")
    with port.using(keyring(2)):
        assert port.open(anew, "exports", "1") == "text"
        with pytest.raises(DecryptionError, match="version 1 is not in the secret file"):
            port.open(sealed, "exports", "1")
