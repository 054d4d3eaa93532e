"""When a job comes by itself: at times that cron writes, or at a fixed distance; always in UTC."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cronsim import CronSim, CronSimError


@dataclass(frozen=True, slots=True)
class Cron:
    """Times as crontab(5) writes them: minute, hour, day of month, month, day of week."""

    expression: str

    def after(self, moment: datetime) -> datetime:
        """The first time after a moment."""
        return next(CronSim(self.expression, moment))


@dataclass(frozen=True, slots=True)
class Every:
    """Times at a fixed distance, the same in all processes."""

    distance: timedelta

    def after(self, moment: datetime) -> datetime:
        """The first time after a moment."""
        distance = self.distance.total_seconds()
        return datetime.fromtimestamp((moment.timestamp() // distance + 1) * distance, UTC)


Schedule = Cron | Every


def parse_schedule(given: str | timedelta) -> Schedule:
    """Understand what is written beside a task.

    Raises:
        ValueError: it is no schedule.
    """
    if isinstance(given, timedelta):
        if given < timedelta(seconds=1):
            raise ValueError("a schedule comes once a second at most")
        return Every(given)
    try:
        CronSim(given, datetime.now(UTC))
    except CronSimError as error:
        raise ValueError(f"{given!r} is no schedule such as '30 3 * * *': {error}") from None
    return Cron(given)
