"""Services, really run: database, migrations, own tests, types, style, HTTP.

Nothing is installed for it: all services share the environment that runs these tests, and
`test_closure.py` keeps that honest. Name one with -k, for example -k mysql-examples.

PostgreSQL comes as a wheel. MariaDB is the machine's own, or the server behind TEST_MYSQL_URL, an
account that may create databases (its password must not be one that production refuses).
"""

import json
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

import httpx2
import hvac
import pytest

from tests.support.figures import FIGURE
from tests.support.matrix import Matrix
from tests.support.render import Renderer
from tests.support.results import wanted
from tests.support.runs import (
    Issuer,
    database_server,
    environment,
    free_port,
    mariadb_program,
    new_databases,
    python,
    redis_program,
    redis_server,
    running,
    token_issuer,
    vault_program,
)
from tests.support.services import DATA, Service, Services
from tests.support.template import Answers, Template
from tests.support.vaults import stored, vault_server

TEMPLATE = Template()
RENDERER = Renderer(TEMPLATE)
SERVICES = Services(Matrix(TEMPLATE), RENDERER)
RUN = wanted(SERVICES, os.environ)
"""Those with which each pair of answers is run, or all that some answers give: `make matrix`."""
SMOKE_TEST = TEMPLATE.directory / "docker/smoke.py"
"""What pipelines ask a service for: everything; it says no 500 to anything."""
PRINTED = {"system-out"}
"""What a report may say of a test that has passed."""

MEASURED = "measured: "
"""How a line begins by which a test of a service says a figure."""

TERMINATED = {0, -signal.SIGTERM}
"""Exit statuses of a process that ended because it was told to, of itself or by the signal."""

NO_VAULT = "no vault program (.ci/vault/build builds one)"

NO_REDIS = "no redis-server program"

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
    vault: Callable[[], hvac.Client]
    redis: Callable[[], str]

    @property
    def servers(self) -> dict[str, str]:
        """What the environment of its tests says of the servers that they may use."""
        found = {"TEST_DATABASE_URL": self.server}
        if self.service.answers["redis"] and redis_program():
            found["TEST_REDIS_URL"] = self.redis()
        return found

    @property
    def server(self) -> str:
        """Address of an account that may create databases."""
        return self.server_for(self.service.answers["database"])

    def python(self, *arguments: str, **variables: str) -> str:
        """Run the interpreter there."""
        # As on a user's machine: the next process need not compile it all again.
        written = {"PYTHONDONTWRITEBYTECODE": "", **variables}
        return python(self.directory, *arguments, **written)

    def new_databases(self) -> dict[str, str]:
        """Make the databases of this service, empty, and give their variables."""
        return new_databases(self.directory, self.server)

    def mounted_files(self, stack: ExitStack) -> dict[str, str]:
        """Write the files that a deployment mounts, and give the variables that name them."""
        directory = stack.enter_context(TemporaryDirectory(prefix="groundwork-"))
        code = "import json, pathlib, sys; from tests.core.mounted import mounted_files"
        write = "print(json.dumps(mounted_files(pathlib.Path(sys.argv[1]))))"
        written: dict[str, str] = json.loads(self.python("-c", f"{code}; {write}", directory))
        return written

    def finding(self, values: Mapping[str, str]) -> dict[str, str]:
        """Put secrets where this service reads them, and give the environment that leads there."""
        if not self.service.answers["vault"]:
            return dict(values)
        return stored(self.vault(), self.directory, f"run-{secrets.token_hex(6)}", values)


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
                if not mariadb_program():
                    pytest.skip("no MariaDB: install mariadb-server or set TEST_MYSQL_URL")
            # Not below pytest's own directory: PostgreSQL runs as another user when we are root.
            home = Path(stack.enter_context(TemporaryDirectory(prefix="groundwork-")))
            answers = SERVICES.matrix.resolver.resolve({"database": database})
            RENDERER.write(RENDERER.tree(answers), home / "service")
            return stack.enter_context(database_server(home / "service", home / "data"))

        yield start


@pytest.fixture(scope="session")
def vault() -> Iterator[Callable[[], hvac.Client]]:
    """Start Vault when it is first wanted; one for each worker."""
    with ExitStack() as stack:

        @cache
        def start() -> hvac.Client:
            if vault_program() is None:
                pytest.skip(NO_VAULT)
            return stack.enter_context(vault_server())

        yield start


@pytest.fixture(scope="session")
def redis() -> Iterator[Callable[[], str]]:
    """Start Redis when it is first wanted; one for each worker."""
    with ExitStack() as stack:

        @cache
        def start() -> str:
            if redis_program() is None:
                pytest.skip(NO_REDIS)
            return f"redis://127.0.0.1:{stack.enter_context(redis_server())}"

        yield start


@pytest.fixture(params=RUN, ids=name_of)
def rendered(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    server_for: Server,
    vault: Callable[[], hvac.Client],
    redis: Callable[[], str],
) -> Rendered:
    service: Service = request.param
    directory = RENDERER.write(SERVICES.tree(service), tmp_path / "service")
    return Rendered(service, directory, server_for, vault, redis)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Whatever is entered here is left after the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def type_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mypy learns about the libraries; it is the same for all services."""
    return tmp_path_factory.mktemp("mypy")


def test_every_combination_of_the_data_layer_is_run() -> None:
    def of_data(answers: Answers) -> tuple[str, ...]:
        return tuple(str(answers[name]) for name in sorted(DATA))

    legal = {of_data(each.answers) for each in SERVICES.matrix.projections(DATA)}
    shown = [each.answers for each in SERVICES.chosen if each.answers["examples"]]
    assert len(legal) == 24
    assert legal - set(map(of_data, shown)) == set()


def test_presets_and_each_answer_that_is_only_printed_are_run() -> None:
    matrix, shown = SERVICES.matrix, [each.answers for each in SERVICES.chosen]
    texts = [matrix.texts_of(row) for row in matrix.text_rows]
    alone = [{name: value} for name, values in matrix.spread.items() for value in values]
    wanted = [*matrix.presets().values(), *texts, *alone]
    unseen = [each for each in wanted if not any(each.items() <= row.items() for row in shown)]
    assert unseen == []


def test_own_tests(
    rendered: Rendered, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    report = tmp_path / "report.xml"
    rendered.python(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}"),
        *("-o", "junit_logging=system-out"),
        **rendered.servers,
    )
    passed, skipped = outcomes(report)
    record_property("own tests", (rendered.service.name, len(passed)))
    for line in figures(report):
        record_property(FIGURE, f"{line}, in {rendered.service.name}")
    assert passed
    if rendered.service.answers["redis"] and redis_program() is None:
        assert skipped
        pytest.skip(f"{NO_REDIS}: {', '.join(skipped)}")
    if rendered.service.answers["vault"] and vault_program() is None:
        assert skipped
        pytest.skip(f"{NO_VAULT}: {', '.join(skipped)}")
    assert skipped == []


def outcomes(report: Path) -> tuple[list[str], list[str]]:
    """Read which tests have passed and which were skipped from a JUnit report."""
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))  # noqa: S314 - our own file
    skipped = [case.attrib["name"] for case in cases if case.find("skipped") is not None]
    passed = [case.attrib["name"] for case in cases if {each.tag for each in case} <= PRINTED]
    return passed, skipped


def figures(report: Path) -> list[str]:
    """Read what its tests have measured and printed."""
    printed = ElementTree.parse(report).getroot().iter("system-out")  # noqa: S314 - our own file
    lines = [line for each in printed for line in (each.text or "").splitlines()]
    return [line.removeprefix(MEASURED) for line in lines if line.startswith(MEASURED)]


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


def test_serves_in_development_and_in_production(
    rendered: Rendered, stack: ExitStack, record_property: Callable[[str, object], None]
) -> None:
    record_property("service", rendered.service.name)
    issuer = stack.enter_context(token_issuer(rendered.directory))
    addresses = rendered.new_databases()
    documents_itself_in_development(rendered, issuer, addresses)
    serves_in_production(rendered, issuer, addresses, rendered.mounted_files(stack))


def documents_itself_in_development(
    rendered: Rendered, issuer: Issuer, addresses: Mapping[str, str]
) -> None:
    """Serve on databases that are empty at first; migrate them while it serves."""
    port = free_port()
    variables = environment(**addresses, **issuer.variables, PORT=str(port))
    command = [sys.executable, "-m", "app"]
    with running(command, rendered.directory, port, variables) as server:
        server.wait_until("/health")
        if rendered.service.answers["examples"]:
            assert server.get("/ready").status_code == 503  # there are migrations
        rendered.python("-m", "app.core.migrate", **addresses)
        server.wait_until("/ready")
        document = server.get("/openapi.json").json()
        answers = rendered.service.answers
        assert document["info"]["title"] == answers["project_name"]
        assert document["info"].get("description", "") == answers["description"]
        for method, path, operation in operations_of(document):
            # Whatever the document calls closed answers 401 to strangers, and nothing else does.
            answer = httpx2.request(method, f"{server.url}{path}", timeout=10)
            closed = {} not in operation.get("security", [{}])
            assert closed == (answer.status_code == 401), path
        has_examples = "/api/v1/projects" in document["paths"]
        assert has_examples == rendered.service.answers["examples"]
        assert server.get("/docs").status_code == 200
        rendered.python(str(SMOKE_TEST), server.url)
        assert server.stop(signal.SIGTERM) in TERMINATED
    said = "\n".join(server.output)
    assert "Traceback" not in said, said


def serves_in_production(
    rendered: Rendered,
    issuer: Issuer,
    addresses: Mapping[str, str],
    mounted_files: Mapping[str, str],
) -> None:
    """Serve on databases that are migrated."""
    port = free_port()
    given = {**addresses, "SECRET_KEY": secrets.token_hex(32)}
    if rendered.service.answers["redis"]:
        given |= {"REDIS_URL": rendered.redis(), "REDIS_TIMEOUT": "5"}
    variables = environment(
        ENVIRONMENT="production",
        **rendered.finding(given),
        **issuer.variables,
        **mounted_files,
        ALLOWED_HOSTS="127.0.0.1",
        SHUTDOWN_DRAIN_SECONDS="0",
        PORT=str(port),
    )
    command = [sys.executable, "-m", "app"]
    with running(command, rendered.directory, port, variables) as server:
        server.wait_until_all_are_up({COMPONENTS[name] for name in addresses.keys() & COMPONENTS})
        if rendered.service.answers["redis"]:
            server.wait_until_all_are_up({"redis"})
        assert server.get("/openapi.json").status_code == 404
        if rendered.service.answers["auth"] != "none":
            server.wait_until_all_are_up({"auth"})
            assert server.get("/api/v1/auth/me").status_code == 401
            assert server.get("/api/v1/auth/me", issuer.token).json()["subject"] == "ada"
        if rendered.service.answers["examples"]:
            made = server.post("/api/v1/projects", {"name": "Ünïcode ✓"}, issuer.token)
            assert made.status_code == 201, made.text
            assert server.get(made.headers["location"], issuer.token).json() == made.json()
        else:
            assert server.get("/api/v1/projects").status_code == 404
        assert server.stop(signal.SIGTERM) in TERMINATED
    assert [line for line in server.output if not isinstance(json.loads(line), dict)] == []
    assert given["SECRET_KEY"] not in "\n".join(server.output)


def operations_of(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give the method, the path and the description of all operations."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield method.upper(), path, operation
