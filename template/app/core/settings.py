"""Settings: read from the environment and `.env`, complete or the service does not start."""

import ipaddress
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from dotenv import dotenv_values
from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)
from pydantic_settings.sources.utils import parse_env_vars

Environment = Literal["development", "test", "staging", "production"]
DEVELOPMENT_SECRET = "for-development-only-and-refused-in-production"  # noqa: S105


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [item.strip() for item in value.split(",") if item.strip()]


_ORIGIN = re.compile(r"https?://[\w.-]+(:\d+)?|https?://\[[0-9a-f:]+\](:\d+)?")
_HOST = re.compile(r"\*|(\*\.)?[\w-]+(\.[\w-]+)*|\[[0-9a-f:]+\]", re.IGNORECASE)
_SHORTEST_PREFIX = 8


def _parse_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError("must be networks such as 10.0.0.0/8") from None


def _is_everybody(network: str) -> bool:
    return network == "*" or ipaddress.ip_network(network).prefixlen < _SHORTEST_PREFIX


StringList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Several strings: separated by commas, or a JSON list."""


ENV_FILE = Path(".env")


def variable(name: str) -> str | None:
    """Give what the environment or else `.env` says, as it stands there; None for nothing."""
    return os.environ.get(name) or _said_in(ENV_FILE).get(name) or None


def _said_in(file: Path, encoding: str | None = None) -> dict[str, str | None]:
    """Read a file without putting anything in the place of `${NAME}`: a secret may have it."""
    return dotenv_values(file, encoding=encoding or "utf-8", interpolate=False)


class _EnvFile(DotEnvSettingsSource):
    """What `.env` says, to the letter."""

    def _read_env_file(self, file_path: Path) -> Mapping[str, str | None]:
        return parse_env_vars(
            _said_in(file_path, self.env_file_encoding),
            self.case_sensitive,
            self.env_ignore_empty,
            self.env_parse_none_str,
        )


def _drain_seconds(values: dict[str, Any]) -> float:
    return 5.0 if values.get("environment") in ("staging", "production") else 0.0


class AppSettings(BaseSettings):
    """What every service needs; each piece adds its own class (see `app.core.registry`)."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE,
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
        validate_default=True,
    )

    project_name: str = Field("Service", description="Title of the API")
    project_description: str = Field(
        "", description="What the documentation of the API begins with, in Markdown"
    )
    app_version: str = Field("0.1.0", description="Version that the reports name")
    environment: Environment = Field(
        "development", description="development, test, staging or production"
    )
    debug: bool = Field(False, description="Log SQL and debug lines; refused in production")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="DEBUG, INFO, WARNING or ERROR"
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="json, console, or auto: console in development only"
    )
    secret_key: SecretStr = Field(
        SecretStr(DEVELOPMENT_SECRET),
        description="Signs what callers bring back, such as page cursors, and makes keys that are"
        " not set: at least 32 random characters in production",
    )
    api_v1_str: str = Field("/api/v1", description="Prefix of the API", pattern=r"^(/[\w.-]+)+$")
    docs_enabled: bool | None = Field(
        None, description="Serve /docs and /openapi.json; without a value: not in production"
    )
    backend_cors_origins: StringList = Field(
        (), description="Origins whose pages may call the API, separated by commas"
    )
    allowed_hosts: StringList = Field(
        ("*",), description="Host names that are answered (*.example.com for all below it)"
    )
    internal_networks: StringList = Field(
        ("127.0.0.0/8", "::1/128"), description="Networks that may read what is for operators"
    )
    max_body_bytes: int = Field(
        1_048_576, ge=1, description="Largest request body that is accepted, in bytes"
    )
    host: str = Field("127.0.0.1", description="Address that the server listens on")
    port: int = Field(8000, ge=0, le=65535, description="Port that the server listens on")
    web_concurrency: int = Field(1, ge=1, le=256, description="Number of server processes")
    forwarded_allow_ips: StringList = Field(
        ("127.0.0.1",), description="Proxies whose X-Forwarded-* headers are believed (CIDR)"
    )
    shutdown_drain_seconds: float = Field(
        default_factory=_drain_seconds,
        ge=0,
        allow_inf_nan=False,
        description="How long /ready says no before the server stops listening (5 when deployed)",
    )
    shutdown_grace_seconds: int = Field(
        25, ge=0, description="How long requests in flight and jobs may take to finish at shutdown"
    )

    _from_store: frozenset[str] = PrivateAttr(default=frozenset())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Tell where values come from; an earlier source wins."""
        file = _EnvFile(settings_cls, getattr(dotenv_settings, "env_file", ENV_FILE))
        own = (init_settings, env_settings, file, file_secret_settings)
        return (*own, *cls.further_sources())

    @classmethod
    def further_sources(cls) -> tuple[PydanticBaseSettingsSource, ...]:
        """Give the sources of what neither the environment nor .env has. Pieces extend this."""
        return ()

    @property
    def from_store(self) -> frozenset[str]:
        """The fields whose value came from a store of secrets, so that it may change later."""
        return self._from_store

    @field_validator("internal_networks")
    @classmethod
    def _check_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            _parse_network(network)
        return value

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _check_proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # The server would take a misspelt network for a name, which no peer ever has.
        return value if value == ("*",) else cls._check_networks(value)

    @field_validator("backend_cors_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(origin != "*" and not _ORIGIN.fullmatch(origin) for origin in value):
            raise ValueError("must be origins such as https://app.example.com, without a path")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _check_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not all(_HOST.fullmatch(host) for host in value):
            raise ValueError("must be host names such as api.example.com, without scheme and port")
        return value

    @property
    def in_production(self) -> bool:
        """Whether insecure values are refused."""
        return self.environment == "production"

    @property
    def serves_docs(self) -> bool:
        """Whether `/docs` and `/openapi.json` exist."""
        return not self.in_production if self.docs_enabled is None else self.docs_enabled

    @property
    def logs_json(self) -> bool:
        """Whether log lines are JSON objects."""
        if self.log_format == "auto":
            return self.environment != "development"
        return self.log_format == "json"

    def probe_paths(self) -> Iterator[str]:
        """Give the paths that machines ask again and again, by the container's address.

        They are neither logged nor measured, and answer for every host. Pieces extend this.
        """
        yield from ("/health", "/ready")

    def body_limits(self) -> Iterator[tuple[str, int]]:
        """Give paths below which bodies may have another size, in bytes. Pieces extend this."""
        yield from ()

    @property
    def largest_message(self) -> int:
        """How large a WebSocket message may be, in bytes. Pieces extend this.

        The server keeps all parts of one until it has the last.
        """
        return 1_048_576

    def published(self) -> Iterator[str]:
        """Name each secret that everybody can read, with the mend. Pieces extend this.

        Staging refuses these as production does: who knows them signs what he likes.
        """
        if DEVELOPMENT_SECRET in self.secret_key.get_secret_value():
            yield "SECRET_KEY must not be the published one: openssl rand -hex 32"

    def insecure(self) -> Iterator[str]:
        """Name each value that production refuses, with the mend. Pieces extend this."""
        yield from self.published()
        secret = self.secret_key.get_secret_value().strip()
        if len(secret) < 32 or len(set(secret)) < 10:
            yield "SECRET_KEY must be at least 32 random characters: openssl rand -hex 32"
        if self.debug:
            yield "DEBUG must be false"
        if "*" in self.allowed_hosts:
            yield "ALLOWED_HOSTS must name the service's hosts instead of *"
        if "*" in self.backend_cors_origins:
            yield "BACKEND_CORS_ORIGINS must name the origins instead of *"
        if any(map(_is_everybody, self.forwarded_allow_ips)):
            yield "FORWARDED_ALLOW_IPS must name the proxies' networks instead of everybody"
        if any(map(_is_everybody, self.internal_networks)):
            yield "INTERNAL_NETWORKS must not be everybody"


SettingsT = TypeVar("SettingsT", bound=AppSettings)


def load_settings(settings_class: type[SettingsT]) -> SettingsT:
    """Read the settings, or stop with one line for each that is missing or wrong.

    Raises:
        SystemExit: so that every server that imports the application prints those lines and
            ends with status 1, without a traceback. Values are never printed.
    """
    if os.environ.get("ENVIRONMENT") == "":
        raise SystemExit("configuration: ENVIRONMENT is set but empty (see .env.example)")
    try:
        settings = settings_class()
    except ValidationError as error:
        raise SystemExit(_explain(error)) from None
    except UnicodeDecodeError:
        raise SystemExit("configuration: .env is no text in UTF-8") from None
    except OSError as error:
        raise SystemExit(f"configuration: .env cannot be read: {error.strerror}") from None
    except SettingsError as error:
        raise SystemExit(f"configuration: {error}") from None
    if problems := refused(settings):
        raise SystemExit("\n".join(f"configuration: {problem}" for problem in problems))
    return settings


def refused(settings: AppSettings) -> list[str]:
    """Name each value with which the service does not start, with the mend."""
    if settings.in_production:
        return list(settings.insecure())
    return list(settings.published()) if settings.environment == "staging" else []


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        if problem["type"] == "default_factory_not_called":
            continue  # follows from another problem
        name = str(problem["loc"][0]).upper() if problem["loc"] else "settings"
        said = "is required" if problem["type"] == "missing" else problem["msg"]
        lines.append(f"configuration: {name} {said} (see .env.example)")
    return "\n".join(lines)
