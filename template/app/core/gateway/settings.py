"""Which services the gateway leads to, and how patient it is with each."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic_settings import NoDecode

from app.core.settings import AppSettings

PREFIX = "/services"
"""Below this each upstream has its name."""
DEFAULT_PORT = 8001
"""Where an upstream listens that is given by its name alone."""

_NAME = re.compile(r"[a-z](-?[a-z0-9]){0,62}")
_HOST = re.compile(r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?|[0-9a-f:]*:[0-9a-f:.]*")
_PATH = re.compile(r"(/(?!\.\.?(/|$))[\w.~-]+)*")

OperatorPath = Annotated[str, Field(pattern=r"^(/[\w.~-]+)+$")]


class Upstream(BaseModel):
    """A service behind the gateway. Times are in seconds, sizes in bytes."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )

    url: str = Field(description="http://HOST:PORT, and a path that stands before each other")
    public: bool = Field(False, description="Ask callers for no token; the upstream may itself")
    connect_timeout: float = Field(2.0, gt=0, description="For a connection")
    connect_retries: int = Field(1, ge=0, le=5, description="Further tries to connect")
    timeout: float = Field(30.0, gt=0, description="Until the answer begins, the upload aside")
    idle_timeout: float = Field(300.0, gt=0, description="Between two parts of a body")
    max_concurrent: int = Field(100, ge=1, description="Requests at a time")
    max_sockets: int = Field(100, ge=1, description="WebSockets at a time")
    share: float = Field(0.2, gt=0, le=1, description="What part of both one caller may take")
    max_body_bytes: int = Field(104_857_600, ge=1, description="Largest body of a request")
    max_message_bytes: int = Field(1_048_576, ge=1, description="Largest WebSocket message")
    breaker_failures: int = Field(5, ge=1, description="So many in a row open the breaker")
    breaker_rest: float = Field(10.0, gt=0, description="Until one request may try again")
    health: str = Field("/health", pattern=r"^(/[\w.~-]*)+$", description="What /ready asks for")
    hidden: tuple[OperatorPath, ...] = Field(
        ("/metrics", "/ready", "/health/detailed"),
        description="Paths for operators, which would take the gateway for one: not passed on",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        wrong = ValueError("the url of an upstream must be such as http://projects:8001")
        try:
            parts = urlsplit(value)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise wrong from None
        rebuilt = f"[{host}]" if ":" in host else host
        rebuilt += f":{port}" if port is not None else ""
        if (
            parts.scheme not in ("http", "https")
            or not _HOST.fullmatch(host)
            or parts.netloc.lower() != rebuilt
            or not _PATH.fullmatch(parts.path.rstrip("/"))
            or parts.query
            or parts.fragment
        ):
            raise wrong
        return value.rstrip("/")


def _read_table(value: Any) -> Any:
    wrong = ValueError("must be names, NAME=URL or a JSON object")
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.lstrip().startswith("{") else dict(_entries(value))
        except json.JSONDecodeError:
            raise wrong from None
    if not isinstance(value, Mapping):
        raise wrong  # a type error, but pydantic takes only this one for its own
    for name in value:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError("names must be of lower-case letters, digits and single hyphens")
    return {name: {"url": each} if isinstance(each, str) else each for name, each in value.items()}


def _entries(text: str) -> Iterator[tuple[str, str]]:
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, url = (part.strip() for part in entry.partition("="))
        yield name, url or f"http://{name}:{DEFAULT_PORT}"


Upstreams = Annotated[dict[str, Upstream], NoDecode, BeforeValidator(_read_table)]
"""Upstreams by name: `projects` (at http://projects:8001), `projects=URL`, or a JSON object."""


class GatewaySettings(AppSettings):
    """What the gateway needs."""

    gateway_upstreams: Upstreams = Field(
        {}, description="Services behind /services/NAME: NAME, NAME=URL, … or a JSON object"
    )
    gateway_max_header_bytes: int = Field(
        32_768, ge=1024, description="Largest header of a request to an upstream, in bytes"
    )

    def body_limits(self) -> Iterator[tuple[str, int]]:
        """Let each upstream have a limit of its own."""
        yield from super().body_limits()
        for name, upstream in self.gateway_upstreams.items():
            yield f"{PREFIX}/{name}", upstream.max_body_bytes

    @property
    def largest_message(self) -> int:
        """How large a WebSocket message may be, in bytes."""
        sizes = (each.max_message_bytes for each in self.gateway_upstreams.values())
        return max((super().largest_message, *sizes))
