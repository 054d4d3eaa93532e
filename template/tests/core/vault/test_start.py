"""Vault as a source of settings, and a start without it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import Settings
from app.core.application import create_app
from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.layout import DATABASES
from app.core.settings import load_settings
from tests.core.issuing.provider import PRODUCTION
from tests.core.migrating import as_environment, migrate
from tests.core.mounted import ADDRESSES, mounted_files
from tests.core.plugin import Addresses
from tests.core.vault.conftest import Lines, enter
from tests.core.vault.servers import Place, Vault, new_place

SAID = "said-by-vault-0123456789-abcdefghijk"


def test_an_argument_wins_then_the_environment_then_dotenv_then_vault(
    place: Place, addresses: Addresses, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place.change(APP_VERSION="vault", DB_POOL_SIZE="4", project_name="vault", LOG_LEVEL="ERROR")
    monkeypatch.setenv("APP_VERSION", "environment")
    (tmp_path / ".env").write_text("APP_VERSION=dotenv\nDB_POOL_SIZE=3\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    settings = Settings(log_level="DEBUG")
    assert settings.app_version == "environment"
    assert settings.db_pool_size == 3
    assert settings.project_name == "vault"
    assert settings.log_level == "DEBUG"
    assert settings.from_store >= {"project_name", *addresses}
    assert settings.from_store.isdisjoint({"app_version", "db_pool_size", "log_level"})


def test_values_are_parsed_as_those_of_the_environment(place: Place) -> None:
    place.change(ALLOWED_HOSTS="a.example.com,b.example.com", DEBUG="true", PORT="8123")
    place.change(VAULT_PATH="elsewhere", ENVIRONMENT="production", NO_SETTING="x")
    settings = load_settings(Settings)
    assert settings.allowed_hosts == ("a.example.com", "b.example.com")
    assert (settings.debug, settings.port) == (True, 8123)
    assert (settings.vault_path, settings.environment) == (place.path, "test")


async def test_the_log_tells_which_source_gave_each_name(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lines: Lines
) -> None:
    place.change(SECRET_KEY=SAID, APP_VERSION="vault")
    monkeypatch.setenv("APP_VERSION", "environment")
    (tmp_path / ".env").write_text("LOG_LEVEL=INFO\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    settings = load_settings(Settings)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        pass
    [line] = lines()
    assert line["event"] == "settings were read"
    assert "SECRET_KEY" in line["vault"]
    assert "APP_VERSION" in line["environment"]
    assert "APP_VERSION" not in line["vault"]
    assert line["dotenv"] == ["LOG_LEVEL"]
    assert SAID not in f"{line} {settings!r}"


async def test_without_an_address_the_environment_is_the_source(
    addresses: Addresses, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    for name, value in as_environment(addresses).items():
        monkeypatch.setenv(name, value)
    app = create_app(load_settings(Settings))
    async with app.router.lifespan_context(app):
        pass
    [line] = lines()
    assert line["event"] == "vault is not asked: settings come from the environment"


# --- refused ----------------------------------------------------------------------------------


def refusal() -> str:
    """Start, and give the one line with which that ends."""
    with pytest.raises(SystemExit) as stopped:
        load_settings(Settings)
    line = str(stopped.value.code)
    assert line.startswith("configuration: ")
    assert "\n" not in line
    return line


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_a_deployed_service_needs_an_address(
    monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    monkeypatch.setenv("ENVIRONMENT", environment)
    assert f"VAULT_ADDR is required in {environment}" in refusal()


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({}, "exactly one way to log in to Vault is required: VAULT_TOKEN, VAULT_ROLE_ID with"),
        ({"VAULT_TOKEN": "a", "VAULT_K8S_ROLE": "b"}, "exactly one way to log in"),
        ({"VAULT_ROLE_ID": "a"}, "VAULT_ROLE_ID and VAULT_SECRET_ID go together"),
        ({"VAULT_ADDR": "vault:8200"}, "VAULT_ADDR Value error, must be an address such as"),
        ({"VAULT_ADDR": "http://a:hunter2@vault"}, "VAULT_ADDR Value error, must not carry"),
        ({"VAULT_PATH": "../other"}, "VAULT_PATH Value error, must be names"),
    ],
)
def test_a_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], line: str
) -> None:
    for name, value in {"VAULT_ADDR": "http://127.0.0.1:9", **variables}.items():
        monkeypatch.setenv(name, value)
    said = refusal()
    assert line in said
    assert "hunter2" not in said


def test_an_emergency_starts_without_vault(
    addresses: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"VAULT_ADDR": "http://127.0.0.1:9", "ENVIRONMENT": "staging", "SECRET_KEY": SAID}
    for name, value in {**variables, **as_environment(addresses), **PRODUCTION}.items():
        monkeypatch.setenv(name, value)
    assert "exactly one way to log in" in refusal()
    monkeypatch.setenv("VAULT_ENABLED", "false")
    assert load_settings(Settings).from_store == frozenset()


def test_an_unreachable_vault(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    expected = "Vault at http://127.0.0.1:9 does not answer: start it, or mend VAULT_ADDR"
    assert refusal() == f"configuration: {expected}"


def test_a_certificate_that_is_not_trusted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_ADDR", place.vault.address.replace("http:", "https:"))
    assert "is not trusted: set VAULT_CA_FILE" in refusal()


def test_a_sealed_vault(sealable: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(new_place(sealable), monkeypatch)
    sealable.seal()
    try:
        assert refusal().endswith("is sealed: vault operator unseal")
    finally:
        sealable.unseal()


def test_a_wrong_secret_id(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_SECRET_ID", "hunter2")
    said = refusal()
    assert said.endswith("refuses the login: mend VAULT_ROLE_ID and VAULT_SECRET_ID")
    assert "hunter2" not in said


def test_a_wrong_token(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VAULT_ROLE_ID", "VAULT_SECRET_ID"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("VAULT_TOKEN", "hunter2")
    assert refusal().endswith("refuses the login: mend VAULT_TOKEN")


def test_a_place_that_is_forbidden(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_PATH", "other")
    assert "does not let us read secret/other" in refusal()


def test_a_place_without_a_secret(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    place = new_place(vault)
    enter(place, monkeypatch)
    expected = f"has nothing at secret/{place.path}: vault kv put -mount=secret {place.path}"
    assert expected in refusal()


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_a_service_whose_vault_says_nothing_ends_in_time_with_one_line(
    silent: socket.socket,
) -> None:
    address = f"http://127.0.0.1:{silent.getsockname()[1]}"
    variables = {"VAULT_ADDR": address, "VAULT_TOKEN": "a", "VAULT_TIMEOUT": "0.5"}
    line = f"configuration: Vault at {address} does not answer: start it, or mend VAULT_ADDR\n"
    seconds: list[float] = []
    while len(seconds) < 3 and min(seconds, default=10) >= 10:  # the machine may stand still
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "app"],
            env={**os.environ, **variables},
            check=False,
            capture_output=True,
            text=True,
            timeout=180,
        )
        seconds.append(time.monotonic() - started)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", line)
    assert min(seconds) < 10


# --- production -------------------------------------------------------------------------------


def production(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    for name, value in {**PRODUCTION, **ADDRESSES, **mounted_files(Path.cwd())}.items():
        monkeypatch.setenv(name, value)
    place.change(SECRET_KEY=SAID, ALLOWED_HOSTS="api.example.com")


def test_production_takes_its_secrets_from_vault(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    production(place, monkeypatch)
    settings = load_settings(Settings)
    assert settings.secret_key.get_secret_value() == SAID
    assert SAID not in f"{settings!r} {settings}"


def test_production_refuses_a_root_token(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    production(place, monkeypatch)
    for name in ("VAULT_ROLE_ID", "VAULT_SECRET_ID"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("VAULT_TOKEN", place.vault.token)
    assert refusal().endswith("VAULT_TOKEN must not be a root token: use an AppRole")


@pytest.mark.parametrize(
    ("address", "is_refused"),
    [
        ("http://vault.example.com:8200", True),
        ("http://10.0.0.1:8200", True),
        ("https://vault.example.com:8200", False),
        ("http://127.0.0.1:8200", False),
        ("http://[::1]:8200", False),
        ("http://localhost:8200", False),
    ],
)
def test_production_refuses_to_send_secrets_in_the_clear(address: str, is_refused: bool) -> None:
    settings = Settings.model_construct(vault_addr=address)
    problems = [line for line in settings.insecure_vault() if line.startswith("VAULT_ADDR")]
    assert bool(problems) == is_refused


@pytest.mark.parametrize("token", ["root", "Development"])
def test_production_refuses_known_tokens(token: str) -> None:
    addresses = {database.variable: FLAVOUR.example for database in DATABASES}
    settings = Settings.model_validate({"vault_token": token, **addresses})
    assert "VAULT_TOKEN must not be that of a development server" in list(settings.insecure())


def test_migrations_find_their_database_in_vault(
    vault: Vault, empty_databases: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = new_place(vault)
    place.write(**as_environment(empty_databases))
    enter(place, monkeypatch)
    migrate({})
