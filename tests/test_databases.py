"""The servers that a service brings along: those for development last, those for tests are fast."""

import json
from pathlib import Path

import pytest

from tests.support.answers import Resolver
from tests.support.render import Renderer
from tests.support.runs import mariadb_program, python
from tests.support.template import Template

TEMPLATE = Template()
WAITS: dict[str, tuple[str, dict[bool, str | int]]] = {
    "postgresql": ("SHOW fsync", {True: "on", False: "off"}),
    "mysql": ("SELECT @@innodb_flush_log_at_trx_commit", {True: 1, False: 0}),
}
"""How a server says whether it waits for the disk, and what it then says."""

LOOK = """
import asyncio, json, sys
from pathlib import Path
from sqlalchemy import inspect, text
from sqlalchemy.ext.asyncio import create_async_engine
from app.core.development.flavour import create_database, empty_database, local_server
place, driver, question = sys.argv[1:]
async def look(server):
    address = await create_database(server, "looked_at")
    engine = create_async_engine(address.replace("://", f"+{driver}://", 1))
    tables = []
    for _ in range(2):
        async with engine.begin() as connection:
            waits = await connection.scalar(text(question))
            tables.append(await connection.run_sync(lambda plain: inspect(plain).get_table_names()))
            await connection.execute(text("CREATE TABLE things (id integer)"))
        await engine.dispose()
        await empty_database(server, "looked_at")
    return waits, tables
found = {}
for durable in True, False:
    with local_server(Path(place, str(durable)), durable=durable) as server:
        found[str(durable)] = asyncio.run(look(server))
print(json.dumps(found))
"""

START = """
import sys
from pathlib import Path
from app.core.development.flavour import local_server
with local_server(Path(sys.argv[1])):
    pass
"""


def rendered(database: str, directory: Path) -> Path:
    answers = Resolver(TEMPLATE).resolve({"preset": "minimal", "database": database})
    renderer = Renderer(TEMPLATE)
    return renderer.write(renderer.tree(answers), directory / "service")


NO_MARIADB = pytest.mark.skipif(
    mariadb_program() is None, reason="no MariaDB: install mariadb-server"
)
"""Where there is none the test is counted as not run."""


@pytest.mark.parametrize("database", ["postgresql", pytest.param("mysql", marks=NO_MARIADB)])
def test_a_server_waits_for_the_disk_unless_it_is_for_tests(
    database: str, tmp_path: Path, place: Path
) -> None:
    service = rendered(database, tmp_path)
    driver = {"postgresql": "asyncpg", "mysql": "asyncmy"}[database]
    question, waits = WAITS[database]
    found = json.loads(python(service, "-c", LOOK, str(place), driver, question).splitlines()[-1])
    nothing: list[list[str]] = [[], []]
    assert found == {str(durable): [said, nothing] for durable, said in waits.items()}


@NO_MARIADB
def test_mariadb_leaves_temporary_tables_of_others_alone(tmp_path: Path, place: Path) -> None:
    of_another = place / "#sql-temptable-1-1-1.MAI"
    of_another.touch()
    python(rendered("mysql", tmp_path), "-c", START, str(place / "data"), TMPDIR=str(place))
    assert of_another.exists()


@NO_MARIADB
def test_mariadb_says_why_it_does_not_start(tmp_path: Path, place: Path) -> None:
    service = rendered("mysql", tmp_path)
    interrupted = place / "mariadb.unfinished" / "mysql"
    interrupted.mkdir(parents=True)
    python(service, "-c", START, str(place))
    assert not interrupted.exists()
    (place / "mariadb" / "ibdata1").write_bytes(b"spoilt")
    with pytest.raises(AssertionError, match=r"did not start \(all it said .*\n(.*\n)*.*ibdata1"):
        python(service, "-c", START, str(place))
