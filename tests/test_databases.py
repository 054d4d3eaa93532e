"""The servers that a service brings along: those for development last, those for tests are fast."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.answers import Resolver
from tests.support.render import Renderer
from tests.support.runs import STOP_SECONDS, environment, mariadb_program, python
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

ENCRYPTED = """
import asyncio, json, sys
from pathlib import Path
from pydantic import SecretStr
from sqlalchemy import text
from app.core.database.engine import build_engine
from app.core.database.settings import ConnectionSettings, driver_url
from app.core.development.flavour import local_server
async def ask(address):
    engine = build_engine(driver_url(SecretStr(address)), ConnectionSettings())
    try:
        async with engine.connect() as connection:
            _, cipher = (await connection.execute(text("SHOW STATUS LIKE 'Ssl_cipher'"))).one()
            return "encrypted" if cipher else "plain"
    except Exception as error:
        return str(error.__cause__)
    finally:
        await engine.dispose()
place, *queries = sys.argv[1:]
with local_server(Path(place), durable=False) as server:
    print(json.dumps([asyncio.run(ask(server + query)) for query in queries]))
"""

SAVED = """
import json, sys
from pathlib import Path
from sqlalchemy import make_url
from app.core.backup.flavour import dump
from app.core.backup.target import BackupError, Target
from app.core.development.flavour import local_server
place, made, *queries = sys.argv[1:]
def save(address):
    file = Path(place, "saved")
    file.unlink(missing_ok=True)
    try:
        dump(Target(make_url(address)), file)
    except BackupError as error:
        return str(error)
    return "saved" if "Dump completed" in file.read_text() else "nothing"
with local_server(Path(place), durable=False) as server:
    socket = make_url(server).query["unix_socket"]
    Target(make_url(server)).run(
        ["mariadb", "--no-defaults", "--user=root", f"--socket={socket}", f"--execute={made}"]
    )
    careful = server.replace("root@localhost/mysql", "careful@localhost/things")
    print(json.dumps([save(careful + query) for query in queries]))
"""
MADE = """
CREATE DATABASE things;
CREATE USER careful@localhost REQUIRE X509;
GRANT ALL ON things.* TO careful@localhost;
"""
"""A database of an account that must show a certificate."""

USED = """
import sys
from pathlib import Path
from app.core.development.flavour import local_server
with local_server(Path(sys.argv[1])) as server:
    print(server, flush=True)
    sys.stdin.read()
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


def certify(file: Path, host: str) -> Path:
    """Write a key and the certificate that it has given itself, for a host."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
        + certificate.public_bytes(pem)
    )
    file.chmod(0o644)
    return file


def with_options(directory: Path, *options: str) -> str:
    """Write a `mariadbd` that has further options; give the PATH on which it is found."""
    program = directory / "mariadbd"
    program.write_text(f'#!/bin/sh\nexec {mariadb_program()} "$@" {" ".join(options)}\n')
    program.chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


@NO_MARIADB
def test_mariadb_is_reached_by_tls_as_the_address_says(tmp_path: Path, place: Path) -> None:
    own, other = certify(place / "own.pem", "elsewhere"), certify(place / "other.pem", "localhost")
    path = with_options(place, f"--ssl-cert={own}", f"--ssl-key={own}")
    expected = {
        "": "plain",
        "&ssl-mode=DISABLED": "plain",
        "&ssl-mode=REQUIRED": "encrypted",
        f"&ssl-mode=VERIFY_CA&ssl-ca={own}": "encrypted",
        f"&ssl-mode=VERIFY_CA&ssl-ca={other}": "CERTIFICATE_VERIFY_FAILED",
        f"&ssl-mode=VERIFY_IDENTITY&ssl-ca={own}": "Hostname mismatch",
    }
    service = rendered("mysql", tmp_path)
    said = json.loads(python(service, "-c", ENCRYPTED, str(place / "data"), *expected, PATH=path))
    for (query, known), found in zip(expected.items(), said, strict=True):
        assert known in found, query


@NO_MARIADB
def test_programs_of_mariadb_use_tls_as_the_driver_does(tmp_path: Path, place: Path) -> None:
    own, other = certify(place / "own.pem", "elsewhere"), certify(place / "other.pem", "localhost")
    path = with_options(place, f"--ssl-cert={own}", f"--ssl-key={own}", f"--ssl-ca={own}")
    shown = f"&ssl_cert={own}&ssl_key={own}"
    expected = {
        "": "Access denied",
        "&ssl-mode=REQUIRED": "Access denied",
        shown: "saved",
        f"{shown}&ssl-mode=REQUIRED": "saved",
        f"{shown}&ssl-ca={own}&ssl_check_hostname=false": "saved",
        f"{shown}&ssl-mode=VERIFY_CA&ssl-ca={other}": "TLS/SSL error",
        f"{shown}&ssl-ca={own}": "TLS/SSL error",
    }
    service, data = rendered("mysql", tmp_path), str(place / "data")
    said = json.loads(python(service, "-c", SAVED, data, MADE, *expected, PATH=path))
    for (query, known), found in zip(expected.items(), said, strict=True):
        assert known in found, query


class User:
    """A process that uses the server of a directory, like `make dev`."""

    def __init__(self, service: Path, data: Path, temporary: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", USED, str(data)],
            cwd=service,
            env=environment(TMPDIR=str(temporary)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def server(self) -> str:
        """Wait for the server and give its address."""
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def end(self) -> None:
        """Leave the server."""
        self._process.communicate()
        assert self._process.returncode == 0

    def kill(self) -> None:
        """End without a word."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def users(tmp_path: Path, place: Path) -> Iterator[Callable[[], User]]:
    """Starts users of one server; in the end nothing of it may be left."""
    service, temporary = rendered("mysql", tmp_path), place / "t"
    temporary.mkdir()
    begun: list[User] = []

    def begin() -> User:
        begun.append(User(service, place / "data", temporary))
        return begun[-1]

    yield begin
    for user in begun:
        user.kill()
    for left in servers_of(place):
        left.kill()


def servers_of(place: Path) -> list[psutil.Process]:
    return [each for each in psutil.process_iter() if is_server_of(place, each)]


def is_server_of(place: Path, process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return f"--datadir={place}/data/mariadb" in process.cmdline()
    return False


def answers(server: str) -> bool:
    socket = server.partition("unix_socket=")[2]
    ping = ["mariadb-admin", "--no-defaults", "--user=root", f"--socket={socket}", "ping"]
    return subprocess.run(ping, check=False).returncode == 0


def nothing_is_left(place: Path) -> bool:
    return not servers_of(place) and not list((place / "t").iterdir())


@NO_MARIADB
def test_processes_share_the_server_of_mariadb(users: Callable[[], User], place: Path) -> None:
    first, second = users(), users()
    server = first.server()
    assert server
    assert second.server() == server
    first.end()
    assert answers(server)
    third = users()
    assert third.server() == server
    second.end()
    assert answers(server)
    third.end()
    assert nothing_is_left(place)


@NO_MARIADB
def test_mariadb_is_taken_over_from_a_process_that_was_killed(
    users: Callable[[], User], place: Path
) -> None:
    killed = users()
    server = killed.server()
    killed.kill()
    assert answers(server)
    heir = users()
    assert heir.server() == server
    heir.end()
    assert nothing_is_left(place)


@NO_MARIADB
def test_mariadb_starts_again_where_it_was_killed(users: Callable[[], User], place: Path) -> None:
    one = users()
    server = one.server()
    [process] = servers_of(place)
    process.kill()
    end = time.monotonic() + STOP_SECONDS
    while servers_of(place):
        assert time.monotonic() < end
        time.sleep(0.01)
    other = users()
    again = other.server()
    assert again != server
    assert answers(again)
    one.end()
    assert answers(again)
    other.end()
    assert not servers_of(place)
