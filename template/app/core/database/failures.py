"""What errors of the database mean to those who ask."""

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.core.database.flavours.flavour import FLAVOUR
from app.core.errors import (
    AppException,
    ConflictError,
    ServiceUnavailableError,
    ValidationFailedError,
)


def answer_to(error: Exception) -> AppException | None:
    """Say to callers what an error of the database means; nothing where it is a fault of ours."""
    if isinstance(error, PoolTimeoutError):
        return ServiceUnavailableError("The database does not answer")
    if not isinstance(error, DBAPIError):
        return None
    if isinstance(error, IntegrityError) or FLAVOUR.broken_rule(error):
        return ConflictError("This contradicts what is stored already")
    if isinstance(error, DataError) or FLAVOUR.refused_value(error):
        return ValidationFailedError("The database cannot store one of the values")
    if FLAVOUR.lost_conflict(error):
        return ConflictError("Another request changed the same: try again")
    if error.connection_invalidated or FLAVOUR.passing(error):
        return ServiceUnavailableError("The database does not answer")
    return None


def is_outage(error: Exception) -> bool:
    """Whether an error says that the database does not answer for now."""
    return isinstance(error, ServiceUnavailableError) or isinstance(
        answer_to(error), ServiceUnavailableError
    )
