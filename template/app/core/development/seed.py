"""Store the data that a new database begins with: `make seed`.

Without a DATABASE_URL the database of `make dev` is used.
"""

import asyncio
import os

from alembic import command
from alembic.config import Config

from app.config import Settings
from app.core.database import get_session_context
from app.core.database.session import database
from app.core.development.local import Address, database_url
from app.core.settings import load_settings
from app.seed import seed


async def run(settings: Settings) -> None:
    """Run `app.seed.seed` in one transaction."""
    async with database.connected(settings), get_session_context() as session:
        await seed(session)


def main() -> None:
    """Find the database, migrate it and seed it."""
    with database_url(load_settings(Address).database_url) as url:
        os.environ["DATABASE_URL"] = url
        command.upgrade(Config("alembic.ini"), "head")
        asyncio.run(run(load_settings(Settings)))


if __name__ == "__main__":
    main()
