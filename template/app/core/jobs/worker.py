"""The process that runs jobs: `python -m app.worker`."""

from app.core.application import started
from app.core.jobs.backend import BACKEND
from app.core.logging import configure_logging
from app.core.registry import CoreSettings


def work(settings: CoreSettings) -> None:
    """Run jobs until this process is told to stop; those that run by then are finished.

    Raises:
        SystemExit: nobody says where the jobs are.
    """
    if settings.parsed_redis_address is None:
        raise SystemExit("configuration: the worker needs REDIS_URL (see .env.example)")
    if BACKEND.work is None:
        raise SystemExit("configuration: this service runs its jobs itself")
    configure_logging(settings)
    BACKEND.work(settings, lambda: started(settings))
