"""What watches a service: the programs that judge it, and what rules and dashboards ask for."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.render import Tree

MONITORING = "deploy/monitoring/"
PROMETHEUS = f"{MONITORING}prometheus/"
RULES = f"{PROMETHEUS}rules/"
RULE_TESTS = f"{PROMETHEUS}tests/"
DASHBOARDS = f"{MONITORING}grafana/dashboards/"
RUNBOOKS = "deploy/runbooks/"

GRAFANA_VARIABLES = {"$__rate_interval": "5m", "$__interval": "1m", "$__range": "1h"}
"""What Grafana itself puts into a query."""

_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)\}?")
_GROUPING = re.compile(
    r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", re.IGNORECASE
)
_NAME = re.compile(r"(?<![\w.])[a-zA-Z_:][\w:]*(?!\w*\s*\()")
_WORDS = {"and", "or", "unless", "bool", "offset", "by", "on", "inf", "nan"}


def program(name: str) -> str | None:
    """Find a program of Prometheus: on the PATH, or what `.ci/prometheus` has left in the cache."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    cache = Path(os.environ.get("CI_CACHE_DIR") or Path(home, "groundwork"))
    return shutil.which(name) or shutil.which(name, path=str(cache / "prometheus/usr/bin"))


def run(
    name: str, *arguments: str | Path, at: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run such a program.

    Raises:
        LookupError: it is not here.
    """
    found = program(name)
    if found is None:
        raise LookupError(f"no {name} program: .ci/prometheus fetches it")
    return subprocess.run(
        [found, *map(str, arguments)], cwd=at, capture_output=True, text=True, check=False
    )


@dataclass(frozen=True)
class Query:
    """A question that somebody asks of Prometheus or Loki.

    Attributes:
        where: who asks.
        language: `prometheus` or `loki`.
        text: as it is written.
    """

    where: str
    language: str
    text: str

    @property
    def variables(self) -> set[str]:
        """Name the variables of the dashboard that it uses."""
        return set(_VARIABLE.findall(_without_grafanas_own(self.text)))

    @property
    def plain(self) -> str:
        """Put something into the place of each variable."""
        return _VARIABLE.sub("x", _without_grafanas_own(self.text))

    @property
    def labels(self) -> Iterator[tuple[str, set[str]]]:
        """Name the labels by which it chooses among the series of a metric."""
        for metric, chosen in re.findall(r"([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}", self._without_texts):
            yield metric, set(re.findall(r"(\w+)\s*[=!]", chosen))

    @property
    def metrics(self) -> set[str]:
        """Name the metrics that it asks for."""
        text = _GROUPING.sub("", self._without_texts)
        text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", text)
        return {name for name in _NAME.findall(text) if name.lower() not in _WORDS}

    @property
    def _without_texts(self) -> str:
        return re.sub(r'"(?:[^"\\]|\\.)*"', '""', self.plain)


def _without_grafanas_own(text: str) -> str:
    for name, value in GRAFANA_VARIABLES.items():
        text = text.replace(name, value)
    return text


def rules(tree: Tree) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each rule of a service, and the file in which it stands."""
    for path in sorted(tree):
        if path.startswith(RULES):
            for group in yaml.safe_load(tree[path])["groups"]:
                yield from ((path, rule) for rule in group["rules"])


def alerts(tree: Tree) -> dict[str, dict[str, Any]]:
    """Give the alerts of a service by name."""
    return {rule["alert"]: rule for _, rule in rules(tree) if "alert" in rule}


def rule_queries(tree: Tree) -> Iterator[Query]:
    """Give what the rules of a service ask for."""
    for path, rule in rules(tree):
        yield Query(f"{path}: {rule.get('alert') or rule['record']}", "prometheus", rule["expr"])


def dashboard_queries(name: str, dashboard: dict[str, Any]) -> Iterator[Query]:
    """Give what a dashboard asks for: its variables, annotations and panels."""
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query" and "," in variable["query"]:
            asked = re.sub(r"^label_values\((.*),[^,]*\)$", r"\1", variable["query"])
            yield Query(f"{name}: ${variable['name']}", variable["datasource"]["type"], asked)
    for annotation in dashboard["annotations"]["list"]:
        yield Query(
            f"{name}: {annotation['name']}", annotation["datasource"]["type"], annotation["expr"]
        )
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield Query(f"{name}: {panel['title']}", target["datasource"]["type"], target["expr"])
