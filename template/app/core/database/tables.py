"""Tables without migrations, and the rule that no foreign key leads into another database."""

from sqlalchemy import MetaData

from app.core.database.handle import Database
from app.core.database.layout import DATABASES
from app.core.database.revision import applied_table, version_table
from app.core.database.roles.role import after_migrations
from app.core.discovery import import_submodules


async def init_db() -> None:
    """Make the tables of all models without migrations: for demonstrations and experiments."""
    import_submodules("app.models")
    for database in DATABASES:
        await make_tables(database, database.metadata)


async def make_tables(database: Database, metadata: MetaData) -> None:
    """Make the tables of one metadata in a database, as its migrations would."""
    async with database.migrator.connect() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.commit()
        kept = version_table(database.section), applied_table(database.section)
        await connection.run_sync(after_migrations, database.current_addresses, *kept)
