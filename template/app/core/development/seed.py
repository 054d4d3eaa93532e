"""Store the data that a new database begins with: `make seed`.

Without an address in the environment or in `.env`, the database of `make dev` is used.
"""

import asyncio
from contextlib import AsyncExitStack

from app.config import Settings
from app.core.database.layout import DATABASES
from app.core.development.local import local_databases
from app.core.development.seeding import seeding
from app.core.development.sign_in import name_issuer
from app.core.migrate import upgrade
from app.core.settings import load_settings
from app.seed import seed


async def run(settings: Settings) -> None:
    """Run `app.seed.seed` with every database at hand."""
    async with AsyncExitStack() as stack:
        for database in DATABASES:
            await stack.enter_async_context(database.connected(settings))
        await stack.enter_async_context(seeding())
        await seed()


def main() -> None:
    """Find the databases, migrate and seed them."""
    name_issuer()
    with local_databases():
        upgrade()
        asyncio.run(run(load_settings(Settings)))


if __name__ == "__main__":
    main()
