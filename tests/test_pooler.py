"""A service behind PgBouncer, which gives each transaction whatever connection is free.

Nothing may depend on what a connection remembers: neither prepared statements nor whose tenant a
transaction works for.
"""

import asyncio
import itertools
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import pytest
from sqlalchemy import make_url

from tests.support.answers import Resolver
from tests.support.render import Renderer
from tests.support.runs import (
    database_server,
    environment,
    free_port,
    new_databases,
    python,
    running,
    token_issuer,
)
from tests.support.template import Template

TEMPLATE = Template()
RENDERER = Renderer(TEMPLATE)
PROJECTS = "/api/v1/projects"
REQUESTS = 60
CONFIGURATION = """
[databases]
{name} = host={host} dbname={name} user={user}
[pgbouncer]
pool_mode = transaction
default_pool_size = 2
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
user = {account}
"""


@contextmanager
def pooler(address: str) -> Iterator[str]:
    """Run PgBouncer before a database and give the address behind which it stands."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("no PgBouncer: install pgbouncer")
    url, port = make_url(address), free_port()
    with TemporaryDirectory(prefix="groundwork-") as home:
        file = Path(home, "pgbouncer.ini")
        # As root it takes another account: whose socket the embedded server's is.
        account = Path(str(url.query["host"])).owner()
        values = {"name": url.database, "host": url.query["host"], "user": url.username}
        file.write_text(CONFIGURATION.format(**values, port=port, account=account), "utf-8")
        Path(home).chmod(0o755)
        process = subprocess.Popen([program, "-q", str(file)])
        try:
            yield f"postgresql://{url.username}@127.0.0.1:{port}/{url.database}"
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture
def service(place: Path) -> Path:
    answers = Resolver(TEMPLATE).resolve(
        {"database": "postgresql", "auth": "oidc", "tenancy": True}
    )
    return RENDERER.write(RENDERER.tree(answers), place / "service")


def test_serves_behind_a_pooler_of_transactions(service: Path, place: Path) -> None:
    with (
        database_server(service, place / "data") as server,
        token_issuer(service) as issuer,
    ):
        addresses = new_databases(service, server)
        python(service, "-m", "app.core.migrate", **addresses)
        with pooler(addresses["DATABASE_URL"]) as pooled:
            port, tokens = free_port(), (issuer.token, issuer.other_token)
            variables = environment(
                **addresses | {"DATABASE_URL": pooled},
                **issuer.variables,
                DB_USE_NULL_POOL="true",
                PORT=str(port),
            )
            command = [sys.executable, "-m", "app"]
            with running(command, service, port, variables) as process:
                process.wait_until("/ready")
                assert asyncio.run(two_tenants(process.url, tokens)) == []
                process.stop(signal.SIGTERM)


async def two_tenants(url: str, tokens: Sequence[str]) -> list[str]:
    """Let two tenants write and read at once; name what went wrong."""

    async def tenant(token: str) -> list[str]:
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
            for number in range(REQUESTS):
                made = await client.post(PROJECTS, json={"name": f"{token[-8:]} {number}"})
                assert made.status_code == 201, made.text
                found = await client.get(PROJECTS, params={"limit": 100})
                names = [project["name"] for project in found.json()["items"]]
                wrong = [name for name in names if not name.startswith(token[-8:])]
                if wrong or len(names) != number + 1:
                    return [f"{len(names)} of {number + 1}", *wrong]
        return []

    return [*itertools.chain(*await asyncio.gather(*map(tenant, tokens)))]
