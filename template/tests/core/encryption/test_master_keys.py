"""The secret file: what is read from it, and what is refused before the service starts."""

from pathlib import Path

import pytest
from structlog.testing import CapturingLogger

from app.config import Settings
from app.core.application import create_app
from app.core.encryption import encryption, piece
from app.core.encryption.master_keys import DEVELOPMENT_VERSION, read_master_keys
from app.core.settings import load_settings
from tests.core.encryption.key_files import key, write_keys
from tests.core.plugin import with_changes

VARIABLE = "RENDER_MASTER_KEY_PATH"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_keys(tmp_path / "master.key", 1)


def refusal(file: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(VARIABLE, str(file))
    with pytest.raises(SystemExit) as stopped:
        load_settings(Settings)
    line = str(stopped.value.code)
    assert line.startswith(f"configuration: {VARIABLE} ")
    assert "\n" not in line
    return line


def test_the_first_key_is_current_and_all_are_known(file: Path) -> None:
    write_keys(file, 3, 1, 2)
    keys = read_master_keys(file)
    assert (keys.current, list(keys.keys)) == (3, [3, 1, 2])
    assert len(set(keys.keys.values())) == 3


@pytest.mark.parametrize("text", ["{}", "{}\n", "\n# made by hand\n\n  1:{}  \r\n", "1: {}"])
def test_one_line_may_be_plain(file: Path, text: str) -> None:
    file.write_text(text.format(key(1)))
    keys = read_master_keys(file)
    assert (keys.current, list(keys.keys)) == (1, [1])


def test_keys_are_not_printed(file: Path) -> None:
    keys = read_master_keys(file)
    assert str(keys.keys[1]) not in f"{keys!r} {keys}"


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o641, 0o777])
def test_a_file_that_everybody_may_open_is_refused(
    settings: Settings, file: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    file.chmod(mode)
    assert f"chmod 640 {file}" in refusal(file, monkeypatch)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_a_file_of_owner_and_group_is_accepted(
    settings: Settings, file: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    file.chmod(mode)
    monkeypatch.setenv(VARIABLE, str(file))
    assert load_settings(Settings).render_master_key_path == file


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "has no key in"),
        ("# only a comment\n", "has no key in"),
        ("too short", "openssl rand -base64 32"),
        ("c2hvcnQ=", "no key of 32 random bytes as number 1"),
        ("A" * 43 + "=", "no key of 32 random bytes"),
        (f"{key(1)[:-2]}==", "no key of 32 random bytes"),
        (f"0:{key(1)}", "no key of 32 random bytes"),
        (f"2:{key(2)}\n1:nothing", "no key of 32 random bytes as number 2"),
        (f"{key(2)}\n{key(1)}", "write a version before each"),
        (f"2:{key(2)}\n{key(1)}", "write a version before each"),
        (f"2:{key(2)}\n2:{key(1)}", "has the version 2 twice"),
        ("\x00\xff\n", "no key of 32 random bytes"),
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(
    settings: Settings, file: Path, monkeypatch: pytest.MonkeyPatch, content: str, said: str
) -> None:
    file.write_text(content)
    line = refusal(file, monkeypatch)
    assert said in line
    assert not [text for text in content.split() if len(text) > 9 and text in line]


def test_a_file_that_is_not_there_is_refused(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        assert "openssl rand -base64 32" in refusal(path, monkeypatch)


def test_production_needs_a_file(settings: Settings) -> None:
    named = [line for line in settings.insecure() if VARIABLE in line]
    assert len(named) == 1
    assert named[0].endswith("openssl rand -base64 32")


def test_a_file_is_enough_for_production(settings: Settings, file: Path) -> None:
    given = with_changes(settings, render_master_key_path=file)
    assert not [line for line in given.insecure() if VARIABLE in line]


async def test_the_running_service_has_the_keys(settings: Settings, file: Path) -> None:
    write_keys(file, 2, 1)
    app = create_app(with_changes(settings, render_master_key_path=file))
    async with app.router.lifespan_context(app):
        assert encryption.keyring.versions == [2, 1]
        sealed = encryption.seal("text", "letters", "1")
        assert sealed.startswith("v2.")
        assert encryption.open(sealed, "letters", "1") == "text"


async def test_without_a_file_the_key_comes_from_the_secret_key(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = CapturingLogger()
    monkeypatch.setattr(piece, "log", log)
    same, other = settings, with_changes(settings, secret_key="another")  # noqa: S106
    sealed = []
    for each in (same, same, other):
        app = create_app(each)
        async with app.router.lifespan_context(app):
            assert encryption.keyring.current == DEVELOPMENT_VERSION
            sealed.append(encryption.seal("text", "place"))
            if each is same:
                assert encryption.open(sealed[0], "place") == "text"
            else:
                with pytest.raises(RuntimeError, match="the master key is another one"):
                    encryption.open(sealed[0], "place")
    assert [("made from SECRET_KEY" in each.args[0]) for each in log.calls] == [True] * 3


def test_nothing_is_encrypted_while_the_service_does_not_run() -> None:
    outside = type(encryption)()
    with pytest.raises(RuntimeError, match="outside of the application's lifespan"):
        outside.seal("text", "place")
