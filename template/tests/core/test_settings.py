import re
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from app.config import Settings
from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.layout import DATABASES
from app.core.database.settings import driver_url
from app.core.settings import load_settings
from tests.core.issuing.provider import PRODUCTION
from tests.core.mounted import mounted_files
from tests.core.without_servers import WITHOUT_SERVERS

SECRET = bytes(range(16)).hex()
VARIABLES = [database.variable for database in DATABASES]
REQUIRED = [name for name, field in Settings.model_fields.items() if field.is_required()]
NOT_COMPARED = {*REQUIRED, "project_name", "project_description"}
"""Their defaults are the owner's, in app/config.py."""
VARIABLE = re.compile(r"^(?:# )?([A-Z][A-Z0-9_]+)=(.*)$", re.MULTILINE)


@pytest.fixture(autouse=True)
def nothing_else_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only what the test sets is read."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def example() -> dict[str, str]:
    text = (Path(__file__).parents[2] / ".env.example").read_text()
    return {name: value.strip('"') for name, value in VARIABLE.findall(text)}


def test_the_example_names_every_variable() -> None:
    assert example().keys() == {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("environment", ["development", "production"])
def test_the_example_shows_the_defaults(monkeypatch: pytest.MonkeyPatch, environment: str) -> None:
    """Also where they differ: whoever copies it gets no other ones, but for the title."""
    set_required(monkeypatch)
    monkeypatch.setenv("ENVIRONMENT", environment)
    defaults = Settings().model_dump(exclude=NOT_COMPARED)
    shown = {name: value for name, value in example().items() if name.lower() not in REQUIRED}
    for name, value in {**shown, **WITHOUT_SERVERS, "ENVIRONMENT": environment}.items():
        monkeypatch.setenv(name, value)
    assert Settings().model_dump(exclude=NOT_COMPARED) == defaults


def test_a_missing_variable_stops_the_start_with_its_name() -> None:
    with pytest.raises(SystemExit) as stopped:
        load_settings(Settings)
    assert sorted(str(stopped.value.code).splitlines()) == sorted(
        f"configuration: {name.upper()} is required (see .env.example)" for name in REQUIRED
    )


@pytest.mark.parametrize("name", ["DB_POOL_SIZE", "ENVIRONMENT", "DEBUG", "API_V1_STR"])
def test_a_wrong_value_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    set_addresses(monkeypatch)
    monkeypatch.setenv(name, "hunter2")
    with pytest.raises(SystemExit) as stopped:
        load_settings(Settings)
    assert f"configuration: {name} " in str(stopped.value.code)
    assert "hunter2" not in str(stopped.value.code)


@pytest.mark.parametrize("address", ["oracle://host/name", "nonsense", "://"])
def test_a_foreign_database_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    set_addresses(monkeypatch, address)
    with pytest.raises(SystemExit) as stopped:
        load_settings(Settings)
    assert all(name.upper() in str(stopped.value.code) for name in VARIABLES)


@pytest.mark.parametrize("scheme", FLAVOUR.schemes)
def test_a_plain_address_gets_the_asynchronous_driver(scheme: str) -> None:
    address = FLAVOUR.example.replace(FLAVOUR.example.partition(":")[0], scheme, 1)
    assert driver_url(SecretStr(address)).drivername == FLAVOUR.driver


def test_the_env_file_is_read_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = [f"{name.upper()}={FLAVOUR.example}" for name in VARIABLES]
    lines += [f"{name}={value}" for name, value in PRODUCTION.items()]
    (tmp_path / ".env").write_text("\n".join([*lines, "LOG_LEVEL=WARNING", "DB_POOL_SIZE=7"]))
    monkeypatch.setenv("LOG_LEVEL", "ERROR")
    settings = load_settings(Settings)
    assert (settings.log_level, settings.db_pool_size) == ("ERROR", 7)


def test_the_env_file_is_read_to_the_letter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_addresses(monkeypatch)
    monkeypatch.setenv("KNOWN", "replaced")
    written = "a$b${KNOWN}c${UNKNOWN:-d}"
    (tmp_path / ".env").write_text(f"PROJECT_NAME={written}\n")
    assert load_settings(Settings).project_name == written


def test_parts_of_addresses_stand_in_the_env_file_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = [f"{name.upper()}={FLAVOUR.example}${{A_PART}}" for name in VARIABLES]
    lines += [f"{name}={value}" for name, value in PRODUCTION.items()]
    (tmp_path / ".env").write_text("\n".join([*lines, "A_PART=p@rt/${x}"]))
    address = getattr(load_settings(Settings), VARIABLES[0])
    assert str(driver_url(address).database).endswith("p@rt/${x}")
    monkeypatch.setenv("A_PART", "of-the-environment")
    assert str(driver_url(address).database).endswith("of-the-environment")


def test_a_part_that_stands_nowhere_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("A_PART", raising=False)
    lines = [f"{name.upper()}={FLAVOUR.example}${{A_PART}}" for name in VARIABLES]
    lines += [f"{name}={value}" for name, value in PRODUCTION.items()]
    (tmp_path / ".env").write_text("\n".join([*lines, "A_PART="]))
    with pytest.raises(SystemExit, match="names A_PART, which is not set"):
        load_settings(Settings)


def test_an_env_file_that_is_no_text_stops_the_start_in_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_addresses(monkeypatch)
    (tmp_path / ".env").write_bytes(b"PROJECT_NAME=caf\xe9")
    with pytest.raises(SystemExit, match=r"configuration: \.env is no text in UTF-8"):
        load_settings(Settings)


def test_an_env_file_that_cannot_be_read_stops_the_start_in_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_addresses(monkeypatch)
    # Fails for root too, whom no permission stops: nothing is mapped at address 0.
    (tmp_path / ".env").symlink_to("/proc/self/mem")
    with pytest.raises(SystemExit, match=r"configuration: \.env cannot be read: "):
        load_settings(Settings)


@pytest.mark.parametrize("text", ["http://a,http://b", '["http://a", "http://b"]'])
def test_lists_have_two_spellings(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    set_addresses(monkeypatch)
    monkeypatch.setenv("BACKEND_CORS_ORIGINS", text)
    assert load_settings(Settings).backend_cors_origins == ("http://a", "http://b")


def test_secure_values_start_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    set_production(monkeypatch)
    settings = load_settings(Settings)
    assert settings.in_production
    assert not settings.serves_docs
    assert settings.logs_json
    assert settings.shutdown_drain_seconds > 0
    assert settings.rate_limit_default == "6000/minute"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", ""),
        ("SECRET_KEY", "too-short"),
        ("SECRET_KEY", "a" * 64),
        ("SECRET_KEY", " " * 64),
        ("DEBUG", "true"),
        ("ALLOWED_HOSTS", "*"),
        ("BACKEND_CORS_ORIGINS", "https://a.example.com,*"),
        ("FORWARDED_ALLOW_IPS", "*"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.1,0.0.0.0/0"),
        ("INTERNAL_NETWORKS", "10.0.0.0/8,::/0"),
    ],
)
def test_production_refuses_insecure_values_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    set_production(monkeypatch)
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=f"configuration: {name} must"):
        load_settings(Settings)


def test_staging_refuses_the_published_secret_and_warns_of_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_production(monkeypatch)
    monkeypatch.setenv("ENVIRONMENT", "staging")
    monkeypatch.setenv("ALLOWED_HOSTS", "*")
    assert [line.split()[0] for line in load_settings(Settings).insecure()] == ["ALLOWED_HOSTS"]
    monkeypatch.delenv("SECRET_KEY")
    with pytest.raises(SystemExit, match=r"^configuration: SECRET_KEY must not be the published"):
        load_settings(Settings)


@pytest.mark.parametrize("password", ["development", "Postgres", "user"])
@pytest.mark.parametrize("name", VARIABLES)
def test_production_refuses_well_known_passwords(
    monkeypatch: pytest.MonkeyPatch, name: str, password: str
) -> None:
    set_production(monkeypatch)
    address = f"{FLAVOUR.schemes[0]}://user:{password}@host/name"
    monkeypatch.setenv(name.upper(), address)
    with pytest.raises(SystemExit, match=f"configuration: {name.upper()} must not"):
        load_settings(Settings)


def test_production_believes_no_issuer_whose_keys_are_fetched_without_tls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in PRODUCTION.items():
        if name.endswith(("_ISSUER", "_URL")) and value.startswith("https://"):
            set_production(monkeypatch)
            monkeypatch.setenv(name, value.replace("https://", "http://"))
            with pytest.raises(SystemExit, match=f"^configuration: {name} must begin with https"):
                load_settings(Settings)


def test_an_empty_environment_is_not_taken_for_development(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_production(monkeypatch)
    monkeypatch.setenv("ENVIRONMENT", "")
    with pytest.raises(SystemExit, match="ENVIRONMENT is set but empty"):
        load_settings(Settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BACKEND_CORS_ORIGINS", "null"),
        ("BACKEND_CORS_ORIGINS", "https://app.example.com/"),
        ("BACKEND_CORS_ORIGINS", "app.example.com"),
        ("ALLOWED_HOSTS", "https://api.example.com"),
        ("ALLOWED_HOSTS", "api.example.com:443"),
        ("INTERNAL_NETWORKS", "10.0.0.1/8"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.1/8"),
        ("FORWARDED_ALLOW_IPS", "proxy,10.0.0.1"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.1,*"),
        ("RATE_LIMIT_DEFAULT", "often"),
        ("SHUTDOWN_DRAIN_SECONDS", "inf"),
    ],
)
def test_a_value_that_could_never_work_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    set_addresses(monkeypatch)
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stopped:
        load_settings(Settings)
    lines = str(stopped.value.code).splitlines()
    assert [line.split()[1] for line in lines] == [name]


def test_a_password_that_breaks_the_address_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    scheme = FLAVOUR.schemes[0]
    set_addresses(monkeypatch, f"{scheme}://user:p@ss:hunter2/x@host/name")
    with pytest.raises(SystemExit) as stopped:
        load_settings(Settings)
    assert "hunter2" not in str(stopped.value.code)


def test_a_refused_value_is_in_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    set_addresses(monkeypatch, "oracle://user:hunter2@host/name")
    monkeypatch.setenv("DB_POOL_SIZE", "hunter2")
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert "hunter2" not in str(refused.value)


def test_secrets_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    set_production(monkeypatch)
    assert SECRET not in repr(load_settings(Settings))


def set_addresses(monkeypatch: pytest.MonkeyPatch, address: str = FLAVOUR.example) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name.upper(), address)
    for name, value in {**PRODUCTION, **WITHOUT_SERVERS}.items():
        monkeypatch.setenv(name, value)


def set_required(monkeypatch: pytest.MonkeyPatch) -> None:
    set_addresses(monkeypatch)
    for name in PRODUCTION:
        if name.lower() not in REQUIRED:
            monkeypatch.delenv(name)


def set_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("SECRET_KEY", SECRET)
    monkeypatch.setenv("ALLOWED_HOSTS", "api.example.com")
    for name, value in mounted_files(Path.cwd()).items():
        monkeypatch.setenv(name, value)
    set_addresses(monkeypatch, FLAVOUR.example.replace(":password@", f":{SECRET}@"))
