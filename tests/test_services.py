"""Every distinct service, really run: database, migrations, own tests, types, style, HTTP.

Nothing is installed for it: all services share the environment that runs these tests, and
`test_closure.py` keeps that honest. Name one with -k, for example -k mysql-examples.

PostgreSQL comes as a wheel. MariaDB is the machine's own, or the server behind TEST_MYSQL_URL, an
account that may create databases (its password must not be one that production refuses).
"""

import json
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import pytest

from tests.support.matrix import Matrix
from tests.support.render import Renderer
from tests.support.runs import (
    database_server,
    environment,
    free_port,
    new_databases,
    python,
    running,
)
from tests.support.services import Service, Services
from tests.support.template import Template

TEMPLATE = Template()
RENDERER = Renderer(TEMPLATE)
SERVICES = Services(Matrix(TEMPLATE), RENDERER)
WITH_MIGRATIONS = [service for service in SERVICES.distinct if service.answers["examples"]]
TERMINATED = {0, -signal.SIGTERM}
"""Exit statuses of a process that ended because it was told to, of itself or by the signal."""

Server = Callable[[str], str]


COMPONENTS = {
    "DATABASE_URL": "database",
    "DATABASE_URL_USER": "user_database",
    "DATABASE_URL_GENERAL": "general_database",
}
"""What health calls the database whose address a variable holds."""


@dataclass(frozen=True)
class Rendered:
    """A service on disk; its database server is started when it is first asked for."""

    service: Service
    directory: Path
    server_for: Server

    @property
    def server(self) -> str:
        """Address of an account that may create databases."""
        return self.server_for(self.service.answers["database"])

    def python(self, *arguments: str, **variables: str) -> str:
        """Run the interpreter there."""
        return python(self.directory, *arguments, **variables)

    def new_databases(self) -> dict[str, str]:
        """Make the databases of this service, empty, and give their variables."""
        return new_databases(self.directory, self.server)

    def migrated_databases(self) -> dict[str, str]:
        """Make its databases and apply all migrations from zero."""
        addresses = self.new_databases()
        self.python("-m", "app.core.migrate", **addresses)
        return addresses


def name_of(service: Service) -> str:
    """Name a service in the list of tests."""
    return service.name


@pytest.fixture(scope="session")
def server_for() -> Iterator[Server]:
    """Start the database server of a flavour when it is first wanted; one for each worker."""
    with ExitStack() as stack:

        @cache
        def start(database: str) -> str:
            if database == "mysql":
                if address := os.environ.get("TEST_MYSQL_URL"):
                    return address
                if not shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin"):
                    pytest.skip("no MariaDB: install mariadb-server or set TEST_MYSQL_URL")
            # Not below pytest's own directory: PostgreSQL runs as another user when we are root.
            home = Path(stack.enter_context(TemporaryDirectory(prefix="groundwork-")))
            answers = SERVICES.matrix.resolver.resolve({"database": database})
            RENDERER.write(RENDERER.tree(answers), home / "service")
            return stack.enter_context(database_server(home / "service", home / "data"))

        yield start


@pytest.fixture(params=SERVICES.distinct, ids=name_of)
def rendered(request: pytest.FixtureRequest, tmp_path: Path, server_for: Server) -> Rendered:
    service: Service = request.param
    directory = RENDERER.write(SERVICES.tree(service), tmp_path / "service")
    return Rendered(service, directory, server_for)


@pytest.fixture(scope="session")
def type_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mypy learns about the libraries; it is the same for all services."""
    return tmp_path_factory.mktemp("mypy")


def test_own_tests(rendered: Rendered, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    rendered.python(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}"),
        TEST_DATABASE_URL=rendered.server,
    )
    passed, skipped = outcomes(report)
    assert passed
    assert skipped == []


def outcomes(report: Path) -> tuple[list[str], list[str]]:
    """Read which tests have passed and which were skipped from a JUnit report."""
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))  # noqa: S314 - our own file
    skipped = [case.attrib["name"] for case in cases if case.find("skipped") is not None]
    passed = [case.attrib["name"] for case in cases if len(case) == 0]
    return passed, skipped


def test_skipped_own_test_is_seen(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(
        "import pytest\ndef test_1(): pass\n@pytest.mark.skip\ndef test_2(): pass\n", "utf-8"
    )
    python(tmp_path, "-m", "pytest", "-p", "no:cacheprovider", "--junit-xml=report.xml")
    assert outcomes(tmp_path / "report.xml") == (["test_1"], ["test_2"])


def test_types_and_style(rendered: Rendered, type_cache: Path) -> None:
    rendered.python("-m", "mypy", "--cache-dir", str(type_cache))
    rendered.python("-m", "ruff", "check", "--no-cache", ".")
    rendered.python("-m", "ruff", "format", "--no-cache", "--check", ".")


def test_serves_in_production(
    rendered: Rendered, record_property: Callable[[str, object], None]
) -> None:
    record_property("service", rendered.service.name)
    addresses = rendered.migrated_databases()
    port = free_port()
    variables = environment(
        ENVIRONMENT="production",
        **addresses,
        SECRET_KEY=secrets.token_hex(32),
        ALLOWED_HOSTS="127.0.0.1",
        SHUTDOWN_DRAIN_SECONDS="0",
        PORT=str(port),
    )
    command = [sys.executable, "-m", "app"]
    with running(command, rendered.directory, port, variables) as server:
        server.wait_until("/health")
        ready = server.get("/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready"), ready.text
        for name in addresses.keys() & COMPONENTS.keys():
            assert ready.json()["components"][COMPONENTS[name]]["status"] == "up"
        assert server.get("/openapi.json").status_code == 404
        if rendered.service.answers["examples"]:
            made = server.post("/api/v1/projects", {"name": "Ünïcode ✓"})
            assert made.status_code == 201, made.text
            assert server.get(made.headers["location"]).json() == made.json()
        else:
            assert server.get("/api/v1/projects").status_code == 404
        assert server.stop(signal.SIGTERM) in TERMINATED
    assert [line for line in server.output if not isinstance(json.loads(line), dict)] == []


def test_documents_itself_in_development(rendered: Rendered) -> None:
    port = free_port()
    variables = environment(**rendered.migrated_databases(), PORT=str(port))
    command = [sys.executable, "-m", "app"]
    with running(command, rendered.directory, port, variables) as server:
        server.wait_until("/ready")
        document = server.get("/openapi.json").json()
        assert document["info"]["title"] == rendered.service.answers["project_name"]
        has_examples = "/api/v1/projects" in document["paths"]
        assert has_examples == rendered.service.answers["examples"]
        assert server.get("/docs").status_code == 200
        assert server.stop(signal.SIGTERM) in TERMINATED
    assert not [line for line in server.output if "Traceback" in line]


@pytest.mark.parametrize("rendered", WITH_MIGRATIONS, indirect=True, ids=name_of)
def test_is_not_ready_before_the_migrations(rendered: Rendered) -> None:
    port = free_port()
    variables = environment(**rendered.new_databases(), PORT=str(port))
    command = [sys.executable, "-m", "app"]
    with running(command, rendered.directory, port, variables) as server:
        server.wait_until("/health")
        assert server.get("/ready").status_code == 503
