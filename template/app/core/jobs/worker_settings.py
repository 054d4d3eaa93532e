"""How a worker runs jobs."""

from collections.abc import Iterator

from pydantic import Field, SecretStr, field_validator

from app.core.jobs.defaults import CARRIERS, REDELIVERY_SECONDS
from app.core.redis.address import parse_address
from app.core.redis.settings import RedisSettings


class WorkerSettings(RedisSettings):
    """How a worker runs jobs."""

    jobs_redelivery_seconds: float = Field(
        REDELIVERY_SECONDS,
        ge=1,
        allow_inf_nan=False,
        description="How long after its last sign of life the jobs of a dead worker are done again",
    )

    @field_validator("redis_url", "upstash_redis_url")
    @classmethod
    def _carries_jobs(cls, address: SecretStr | None) -> SecretStr | None:
        if address and parse_address(address.get_secret_value()).kind not in CARRIERS:
            raise ValueError(f"must lead to {' or '.join(CARRIERS.values())}, to carry jobs")
        return address

    def insecure(self) -> Iterator[str]:
        """Name each value that production refuses, with the mend."""
        yield from super().insecure()
        if self.redis_enabled and self.redis_address is None:
            yield "REDIS_URL must lead to the Redis that carries the jobs"
