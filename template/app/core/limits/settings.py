"""The limit that all endpoints have."""

from typing import Any

from pydantic import Field, field_validator

from app.core.limits.limiter import parse_limits
from app.core.settings import AppSettings

OFF = "off"


def _default(values: dict[str, Any]) -> str:
    return "6000/minute" if values.get("environment") in ("staging", "production") else OFF


class LimitSettings(AppSettings):
    """How often anybody may ask."""

    rate_limit_default: str = Field(
        default_factory=_default,
        description="Requests of each caller: 100/minute, 10/second; 300/minute, or off",
    )

    @field_validator("rate_limit_default")
    @classmethod
    def _check_limits(cls, value: str) -> str:
        if value != OFF:
            parse_limits(value)
        return value
