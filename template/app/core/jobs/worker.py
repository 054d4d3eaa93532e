"""The process that runs jobs: `python -m app.worker`."""

from contextlib import ExitStack

import structlog

from app.core.application import started
from app.core.jobs.backend import BACKEND
from app.core.jobs.finding import find_tasks
from app.core.jobs.task import longest_limit
from app.core.logging import configure_logging
from app.core.registry import PIECES, CoreSettings

log = structlog.get_logger(logger_name="app.jobs")


def work(settings: CoreSettings) -> None:
    """Run jobs until this process is told to stop; those that run by then are finished.

    Raises:
        SystemExit: nobody says where the jobs are, or they could be given to two workers at once.
    """
    if settings.parsed_redis_address is None:
        raise SystemExit("configuration: the worker needs REDIS_URL (see .env.example)")
    if BACKEND.work is None:
        raise SystemExit("configuration: this service runs its jobs itself")
    configure_logging(settings)
    _count_connections(settings)
    with ExitStack() as stack:
        for piece in PIECES:
            if piece.around_worker:
                stack.enter_context(piece.around_worker(settings))
        find_tasks()
        _check_limits(settings)
        BACKEND.work(settings, lambda: started(settings))


def _check_limits(settings: CoreSettings) -> None:
    """Refuse to run jobs that would be given to another worker while they still run."""
    limit = longest_limit(settings.jobs_time_limit_seconds)
    # A half each: to wait for a free process, and to run.
    if not BACKEND.holds_on and 2 * limit >= settings.jobs_redelivery_seconds:
        raise SystemExit(
            "configuration: JOBS_REDELIVERY_SECONDS must exceed twice the time limit of every task,"
            f" the longest of which is {limit:.0f} s"
        )


def _count_connections(settings: CoreSettings) -> None:
    """Say it when jobs may have to wait for the connections of others, and fail over that."""
    most = settings.db_pool_size + settings.db_max_overflow
    alone = BACKEND.apart or settings.db_use_null_pool
    if not alone and settings.jobs_at_once > most:
        log.warning(
            "JOBS_AT_ONCE exceeds DB_POOL_SIZE + DB_MAX_OVERFLOW: jobs may get no connection",
            jobs=settings.jobs_at_once,
            connections=most,
        )
