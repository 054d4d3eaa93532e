"""Nothing in a service is a decoration: whoever takes a piece out of the registry sees red."""

import ast
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.answers import Resolver
from tests.support.contents import Contents
from tests.support.matrix import Matrix
from tests.support.mutants import SERVICES, WRONG_TYPES, recorded, service, wires_in
from tests.support.render import Renderer, Tree
from tests.support.runs import environment, redis_program, vault_program
from tests.support.template import Template
from tests.support.wires import Wire, wires_of

TEMPLATE = Template()
RENDERER = Renderer(TEMPLATE)
REGISTRY = "app/core/registry.py"
PYTEST = (sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider")

TREES: dict[str, Tree] = {
    name: RENDERER.tree(Resolver(TEMPLATE).resolve(answers)) for name, answers in SERVICES.items()
}
# The registry is the same for all databases, and SQLite needs no server.
TREE, LOCAL = TREES["oidc"], TREES["local"]
"""Two services that have all pieces between them."""


def entries(source: str, variable: str) -> list[ast.expr]:
    """Give the elements of the tuple that is assigned to a variable."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == variable:
            assert isinstance(node.value, ast.Tuple)
            return node.value.elts
    raise AssertionError(f"{REGISTRY} assigns no {variable}")


def without(source: str, entry: ast.expr) -> str:
    """Take the line of one element out."""
    lines = source.splitlines(keepends=True)
    line = lines.pop(entry.lineno - 1)
    assert line.strip() == f"{ast.unparse(entry)},", f"one piece per line, not {line!r}"
    return "".join(lines)


def pieces(tree: Tree) -> dict[str, ast.expr]:
    """Give the lines of a registry, by the names of the pieces."""
    return {ast.unparse(entry): entry for entry in entries(tree[REGISTRY].decode(), "PIECES")}


PIECES = {
    **{name: (LOCAL, entry) for name, entry in pieces(LOCAL).items()},
    **{name: (TREE, entry) for name, entry in pieces(TREE).items()},
}


def test_all_pieces_are_among_them() -> None:
    """Whatever piece some answers bring, one of the two services has it."""
    contents = Contents(Matrix(TEMPLATE), RENDERER)
    found = {
        name for each in contents.of(REGISTRY) for name in pieces({REGISTRY: each.text.encode()})
    }
    assert found == PIECES.keys()


def test_registry_does_not_depend_on_the_database() -> None:
    for database in TEMPLATE.questions["database"].choices:
        answers = Resolver(TEMPLATE).resolve({**SERVICES["oidc"], "database": database})
        assert RENDERER.content(REGISTRY, answers) == TREE[REGISTRY]


@pytest.mark.parametrize("piece", PIECES)
def test_piece_is_missed(piece: str, tmp_path: Path) -> None:
    tree, entry = PIECES[piece]
    RENDERER.write(tree, tmp_path)
    (tmp_path / REGISTRY).write_text(without(tree[REGISTRY].decode(), entry), "utf-8")
    done = likely_tests_first(tmp_path, piece)
    # Tests are red (test_services.py shows them green with the complete registry); a service that
    # cannot even be imported would end with another status.
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout


SAMPLE = 4


def sample() -> list[Wire]:
    """Choose few wires of the first service, others whenever it changes.

    Of those only that a test of this service is known to miss, which takes seconds: `make mutants`
    takes all.
    """
    record = recorded()
    now = hashlib.sha256(b"".join(TREE[path] for path in sorted(TREE))).hexdigest()
    known = [wire for wire in wires_in(TREE) if record.get(str(wire)) in TREE]
    return sorted(known, key=lambda wire: hashlib.sha256(f"{now} {wire}".encode()).digest())[
        :SAMPLE
    ]


@pytest.mark.parametrize("wire", sample(), ids=str)
def test_wire_is_missed(wire: Wire, tmp_path: Path) -> None:
    with service(RENDERER, TREE, tmp_path / "service") as missing:
        verdict = missing.verdict(wire)
    assert verdict.killed, f"no test misses {wire}"


def test_what_is_there_for_the_types_is_missed_by_them(tmp_path: Path) -> None:
    tree = TREES["vault"]
    [wire] = [each for each in wires_in(tree) if "VaultSettings without base AppS" in str(each)]
    with service(RENDERER, tree, tmp_path / "service") as missing:
        assert missing.types() == (0, "")
        (missing.directory / wire.path).write_text(wire.mutated, "utf-8")
        status, output = missing.types()
    assert status == WRONG_TYPES
    assert "secrets/vault/settings.py" in output


def test_every_wire_is_in_one_of_the_services() -> None:
    contents = Contents(Matrix(TEMPLATE), RENDERER)
    there = {
        str(wire)
        for tree in TREES.values()
        for path, content in tree.items()
        for wire in wires_in({str(RENDERER.listed(path)): content})
    }
    everywhere = {
        str(wire)
        for path in RENDERER.sources
        if path.startswith("app/") and path.endswith(".py")
        for each in contents.of(path)
        for wire in wires_in({path: each.text.encode()})
    }
    assert everywhere - there == set()


SOURCE = '''
"""A module."""

@contextmanager
def _lifespan():
    with heard():
        register(answer)
        yield

@public
async def answer(principal: Annotated[str, Depends(principal)]):
    if principal:
        raise ForbiddenError

def _middleware():
    return [Middleware(Guard, limit=1), *others]

def insecure():
    if debug:
        yield "DEBUG must be false"

piece = Piece(name="a", checks=(Check(name="b", probe=c),), handlers={A: a, B: b})
'''


def test_wires_are_found() -> None:
    wires = wires_of("app/a.py", SOURCE)
    assert [wire.name for wire in wires] == [
        "_lifespan without with heard()",
        "_lifespan without register(answer)",
        "answer without @public",
        "answer without Depends(principal)",
        "answer without refusal if principal",
        "_middleware without middleware Guard",
        "insecure without “DEBUG must be false”",
        "without checks",
        "without check 'b'",
        "without handlers",
        "without handler of A",
        "without handler of B",
    ]
    for wire in wires:
        compile(wire.mutated, wire.path, "exec")
    assert len({SOURCE, *(wire.mutated for wire in wires)}) == len(wires) + 1


VAULT: Tree = RENDERER.tree(Resolver(TEMPLATE).resolve({"database": "sqlite", "vault": True}))
STORE = "app/core/secrets/store.py"
UNPLUGGED = {
    "settings": (REGISTRY, "    VaultSettings,\n", ""),
    "piece": (REGISTRY, "    secrets,\n", ""),
    "store": (STORE, "app.core.secrets.vault.store", "app.core.secrets.environment"),
}
"""The lines that plug Vault in: in which file, and what stands there without it."""


@pytest.mark.parametrize("line", UNPLUGGED)
def test_vault_is_missed(line: str, tmp_path: Path) -> None:
    if vault_program() is None:
        pytest.skip("no vault program (.ci/vault/build builds one)")
    path, plugged, unplugged = UNPLUGGED[line]
    source = VAULT[path].decode()
    assert plugged in source
    RENDERER.write(VAULT, tmp_path)
    (tmp_path / path).write_text(source.replace(plugged, unplugged, 1), "utf-8")
    done = own_tests(tmp_path, "tests/core/vault")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout


EVERYBODY = {path: TREE[path] for path in ["app/core/cache/owners/everybody.py"]}
REDIS_UNPLUGGED = {
    "settings": (REGISTRY, "    RedisSettings,\n", ""),
    "counting": ("app/core/limits/storage.py", "limits.shared", "limits.memory"),
    "standing in": (
        "app/core/cache/stores/shared.py",
        "yield store, RedisLocks(link)",
        "yield MemoryStore(), MemoryLocks()",
    ),
    "way back": ("app/core/cache/stores/shared.py", "link.when_back(store.settle)", "list"),
    "owner": ("app/core/cache/owners/owner.py", "owners.tenants", "owners.everybody"),
}
"""The same for Redis and the cache."""


@pytest.mark.parametrize("line", REDIS_UNPLUGGED)
def test_redis_is_missed(line: str, tmp_path: Path) -> None:
    if redis_program() is None:
        pytest.skip("no redis-server program")
    path, plugged, unplugged = REDIS_UNPLUGGED[line]
    source = LOCAL[path].decode()
    assert plugged in source
    RENDERER.write({**LOCAL, **EVERYBODY}, tmp_path)
    (tmp_path / path).write_text(source.replace(plugged, unplugged, 1), "utf-8")
    done = own_tests(tmp_path, "tests/core/redis", "tests/core/test_cached_by_tenant.py")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout


JOBS_UNPLUGGED = {
    "settings": (REGISTRY, "    WorkerSettings,\n", ""),
    "backend": ("app/core/jobs/backend.py", "backends.taskiq", "backends.inline"),
}
"""The same for the worker."""


@pytest.mark.parametrize("line", JOBS_UNPLUGGED)
def test_worker_is_missed(line: str, tmp_path: Path) -> None:
    if redis_program() is None:
        pytest.skip("no redis-server program")
    path, plugged, unplugged = JOBS_UNPLUGGED[line]
    source = TREE[path].decode()
    assert plugged in source
    RENDERER.write(TREE, tmp_path)
    (tmp_path / path).write_text(source.replace(plugged, unplugged, 1), "utf-8")
    done = own_tests(tmp_path, "tests/core/jobs")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout


NET = "app/core/tenancy/net.py"
NETS = {
    "repositories": (
        "app/core/tenancy/owned.py",
        "yield cls.tenant_id == current_tenant()",
        "yield cls.tenant_id == cls.tenant_id",
    ),
    "sessions": (NET, 'event.listen(ServiceSession, "do_orm_execute", _confine)', "pass"),
    "stamp": (NET, 'event.listen(ServiceSession, "before_flush", _stamp)', "pass"),
    "refusal": (NET, "    refuse_unconfined(state)\n", ""),
}
"""The nets between tenants, and what is left when each is taken away."""


@pytest.mark.parametrize("net", NETS)
def test_net_is_missed(net: str, tmp_path: Path) -> None:
    path, spread, taken_away = NETS[net]
    source = LOCAL[path].decode()
    assert spread in source
    RENDERER.write(LOCAL, tmp_path)
    (tmp_path / path).write_text(source.replace(spread, taken_away, 1), "utf-8")
    done = own_tests(tmp_path, "tests/core/test_tenancy.py", "tests/core/test_refusal.py")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout


def test_row_security_is_missed(place: Path) -> None:
    given = {"preset": "minimal", "database": "postgresql", "auth": "oidc", "tenancy": True}
    tree = RENDERER.tree(Resolver(TEMPLATE).resolve(given))
    path, policy = "app/core/database/row_security_migrations.py", "USING ({mine} OR {across})"
    source = tree[path].decode()
    assert policy in source
    RENDERER.write(tree, place)
    (place / path).write_text(source.replace(policy, "USING (true)"), "utf-8")
    done = own_tests(place, "tests/core/test_row_security.py")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout


def test_settings_of_the_outside_api_are_missed(tmp_path: Path) -> None:
    given = {"preset": "minimal", "external_api": "bybit"}
    tree = RENDERER.tree(Resolver(TEMPLATE).resolve(given))
    RENDERER.write(tree, tmp_path)
    source = tree[REGISTRY].decode()
    (tmp_path / REGISTRY).write_text(source.replace("    ExternalApiSettings,\n", ""), "utf-8")
    done = own_tests(tmp_path, "tests/core/test_external_api.py")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout


def likely_tests_first(directory: Path, piece: str) -> "subprocess.CompletedProcess[str]":
    """Run the tests that have missed a piece before, those named like it, and then all of them."""
    known = recorded().get(f"{REGISTRY}: without {piece} in PIECES", "")
    named = [
        str(path.relative_to(directory))
        for path in sorted((directory / "tests/core").iterdir())
        if any(word in path.name for word in piece.split("_")) and is_test(path)
    ]
    for likely in ([known] if (directory / known).is_file() else [], named):
        if likely and (done := own_tests(directory, *likely)).returncode != pytest.ExitCode.OK:
            return done
    return own_tests(directory)


def is_test(path: Path) -> bool:
    """Whether tests may be in a directory, or in a file."""
    return path.name.startswith("test_") or any(path.glob("test_*.py"))


def own_tests(directory: Path, *which: str) -> "subprocess.CompletedProcess[str]":
    """Run the foundation's tests of a service until the first that fails."""
    return subprocess.run(
        [*PYTEST, *(which or ["tests/core"])],
        cwd=directory,
        env=environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=1800,
    )
