"""Tables without migrations, and the rule that no foreign key leads into another database."""

from app.core.database.layout import DATABASES
from app.core.discovery import import_submodules


async def init_db() -> None:
    """Make the tables of all models without migrations: for demonstrations and experiments."""
    import_submodules("app.models")
    for database in DATABASES:
        async with database.engine.begin() as connection:
            await connection.run_sync(database.metadata.create_all)
