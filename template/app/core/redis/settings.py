"""Where Redis is, and how long anybody waits for it."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from app.core.redis.address import Address, parse_address
from app.core.redis.place import DEFAULT_PREFIX
from app.core.settings import AppSettings

_KNOWN_PASSWORDS = frozenset(
    {"admin", "changeme", "default", "development", "foobared", "password", "redis", "secret"}
)


def _checked(address: SecretStr) -> SecretStr:
    parse_address(address.get_secret_value())
    return address


RedisUrl = Annotated[SecretStr, AfterValidator(_checked)]
"""The address of a Redis; never printed."""


class RedisSettings(AppSettings):
    """The connection to Redis. Without an address the service's memory stands in for it."""

    redis_url: RedisUrl | None = Field(
        None, description="redis://, rediss://, redis+sentinel:// or redis+cluster://"
    )
    upstash_redis_url: RedisUrl | None = Field(
        None, description="The same as Upstash names it; REDIS_URL wins"
    )
    redis_enabled: bool = Field(
        True, description="Whether to use Redis; false in an emergency: memory stands in"
    )
    redis_timeout: float = Field(
        0.25,
        gt=0,
        le=5,
        allow_inf_nan=False,
        description="Seconds to wait for Redis; a whole question takes at most twice as long",
    )
    redis_max_connections: int = Field(50, ge=1, description="Connections of each process, at most")
    redis_key_prefix: str = Field(
        DEFAULT_PREFIX,
        pattern=r"^[\w.-]+(:[\w.-]+)*$",
        description="What the names of all keys begin with",
    )

    @property
    def redis_address(self) -> SecretStr | None:
        """The address that counts, if Redis is to be used at all."""
        return (self.redis_url or self.upstash_redis_url) if self.redis_enabled else None

    @property
    def parsed_redis_address(self) -> Address | None:
        """The same, taken apart."""
        address = self.redis_address
        return None if address is None else parse_address(address.get_secret_value())

    def insecure(self) -> Iterator[str]:
        """Name each value that production refuses, with the mend."""
        yield from super().insecure()
        address = self.parsed_redis_address
        if address is not None and (address.password or "").lower() in _KNOWN_PASSWORDS:
            name = "REDIS_URL" if self.redis_url else "UPSTASH_REDIS_URL"
            yield f"{name} must not carry a well-known password"
