"""The pieces of this service, in the order in which they start."""

from app.core.database.layout import DatabaseSettings
from app.core.database.piece import piece as database
from app.core.errors import piece as errors
from app.core.health import piece as health
from app.core.piece import Piece
from app.core.settings import AppSettings
from app.core.web.cors import piece as cors
from app.core.web.guards import piece as guards

PIECES: tuple[Piece, ...] = (
    cors,
    errors,
    guards,
    health,
    database,
)


class CoreSettings(
    DatabaseSettings,
    AppSettings,
):
    """The settings of all pieces together; `app.config.Settings` adds the service's own."""
