"""How long other services are waited for, and which addresses may be called."""

from urllib.parse import urlsplit

from pydantic import Field, field_validator

from app.core.settings import AppSettings, StringList


class HttpSettings(AppSettings):
    """Calls to other services; each `Upstream` may differ."""

    http_connect_timeout: float = Field(
        2.0, gt=0, allow_inf_nan=False, description="Seconds to wait for a connection"
    )
    http_read_timeout: float = Field(
        10.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds to wait for the next part of an answer",
    )
    http_total_timeout: float = Field(
        30.0, gt=0, allow_inf_nan=False, description="Seconds for a call with all of its retries"
    )
    http_queue_timeout: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="Seconds to wait while too many calls are made"
    )
    http_concurrency: int = Field(50, ge=1, description="Calls to one upstream at a time")
    http_attempts: int = Field(
        3, ge=1, description="How often something is asked that changes nothing (GET), at most"
    )
    http_breaker_failures: int = Field(
        5, ge=1, description="Failures in a row after which an upstream is left alone"
    )
    http_breaker_rest: float = Field(
        10.0, gt=0, allow_inf_nan=False, description="Seconds for which it is left alone"
    )
    http_max_response_bytes: int = Field(
        10_485_760, ge=1, description="Largest answer that is read, in bytes"
    )
    http_private_networks: StringList = Field(
        (), description="Networks besides the public ones that may be called (10.0.0.0/8)"
    )

    @field_validator("http_private_networks")
    @classmethod
    def _check_private_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return cls._check_networks(value)


def check_base_url(value: str) -> None:
    """Refuse what is no address that an `Upstream` may have.

    Raises:
        ValueError: which also says what to do; the value is not repeated.
    """
    try:
        parts = urlsplit(value)
        complete = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # the port is no number
        complete = False
    if not complete or "@" in value or "?" in value or "#" in value:
        raise ValueError("must be an address such as https://api.example.com/v1")
