"""Which tests come first."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.order import SLOW, slow_first
from tests.support.template import ROOT

HOOK = "from tests.conftest import pytest_collection_modifyitems\n"
TESTS = """
import pytest

@pytest.mark.parametrize("number", range(14))
def test_short(number): ...

@pytest.mark.parametrize("number", range(5))
def test_own_tests(number): ...
"""


@pytest.mark.parametrize(
    ("processes", "order"),
    [(1, "EFabcd"), (2, "EabFcd"), (3, "EaFbcd"), (9, "EFabcd")],
)
def test_the_slow_ones_head_the_parts(processes: int, order: str) -> None:
    items = "abcdEF"
    assert "".join(slow_first(items, str.isupper, processes)) == order


def test_each_process_begins_with_slow_ones(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(HOOK, "utf-8")
    (tmp_path / "test_a.py").write_text(TESTS, "utf-8")
    command = ["-m", "pytest", "-v", "--numprocesses", "3", "--dist", "worksteal"]
    said = subprocess.run(
        [sys.executable, *command, "-p", "no:cacheprovider", f"-o=pythonpath={ROOT}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    first = dict(reversed(re.findall(r"^\[(gw\d)\].* PASSED test_a.py::(\w+)", said, re.MULTILINE)))
    assert first == dict.fromkeys(("gw0", "gw1", "gw2"), "test_own_tests")
    assert said.count(" PASSED ") == 19


@pytest.mark.parametrize("name", SLOW)
def test_the_slow_ones_are_there(name: str) -> None:
    files = (ROOT / "tests").glob("test_*.py")
    assert any(f"\ndef {name}(" in path.read_text("utf-8") for path in files)
