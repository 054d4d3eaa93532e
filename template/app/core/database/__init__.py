"""The database layer. Import what you use from here."""

from app.core.database.handle import ReadSession as ReadSession
from app.core.database.handle import after_commit as after_commit
from app.core.database.handle import after_rollback as after_rollback
from app.core.database.handle import when_committed as when_committed
from app.core.database.layout import *  # noqa: F403 - sessions, see there
from app.core.database.repository import Repository as Repository
from app.core.database.styles.style import *  # noqa: F403 - bases and mixins of models
from app.core.database.tables import init_db as init_db
from app.core.database.types import UtcDateTime as UtcDateTime
from app.core.database.types import utc_now as utc_now
from app.core.database.types import uuid7 as uuid7
