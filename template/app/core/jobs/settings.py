"""How jobs are run."""

from pydantic import Field

from app.core.jobs.defaults import AT_ONCE
from app.core.settings import AppSettings


class JobSettings(AppSettings):
    """How jobs are run."""

    jobs_at_once: int = Field(
        AT_ONCE, ge=1, le=1000, description="Jobs that one process runs at the same time"
    )
    jobs_time_limit_seconds: float = Field(
        300, gt=0, allow_inf_nan=False, description="How long a job may take, unless it says so"
    )
    jobs_outbox_seconds: float = Field(
        5, gt=0, allow_inf_nan=False, description="How often the outbox is looked through"
    )
