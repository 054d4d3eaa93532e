"""What watches a service is accepted by the programs it is written for, and fits the service.

Each alert fires on made-up figures and is silent on healthy ones, has a page that says what to do,
and asks for figures that the running service gives. Each check is also shown something broken.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from jsonschema import Draft7Validator
from redis import Redis

from tests.support import watching
from tests.support.answers import Resolver
from tests.support.matrix import Matrix
from tests.support.render import Renderer, Tree
from tests.support.runs import (
    Running,
    environment,
    free_port,
    new_databases,
    python,
    redis_program,
    redis_server,
    running,
    token_issuer,
    vault_program,
)
from tests.support.template import ROOT, Answers, Template
from tests.support.vaults import stored, vault_server
from tests.support.watching import (
    DASHBOARDS,
    MONITORING,
    PROMETHEUS,
    RULE_TESTS,
    RULES,
    RUNBOOKS,
    Query,
    alerts,
    dashboard_queries,
    rule_queries,
    rules,
)

TEMPLATE = Template()
MATRIX = Matrix(TEMPLATE)
RENDERER = Renderer(TEMPLATE)
SCHEMAS = ROOT.parent / "shared/schemas"
PATIENCE = 300
DEBIANS_TEMPLATE = Path("/usr/share/prometheus/alertmanager/default.tmpl")
"""Where Debian's Alertmanager looks for it, whatever it is told."""

EVERYTHING = {
    "preset": "platform",
    "database": "sqlite",
    "external_api": "bybit",
    "vault": True,
    "monitoring": True,
}
NOTHING = {"preset": "minimal", "monitoring": True}
COMPOSE = "docker/compose/monitoring.yml"
OWN_NAMES = ("api", "worker")
"""What is watched; all others watch."""

OTHERS = r"up|ALERTS|(alertmanager|loki|prometheus|vector)_\w+"
"""Figures of Prometheus itself, and of the programs that stand beside the service."""

OF_PIECES = {
    "redis": r"redis_\w+",
    "worker": r"jobs_waiting|job_workers",
    "vault": r"vault_\w+",
    "auth": r"tokens_refused_total|reason:tokens_refused:rate5m",
}
"""Figures that only services with a piece have."""

OF_PROMETHEUS = {"namespace", "job", "instance"}
"""Labels that Prometheus adds to what it reads."""

SEVERITIES = {"critical": "pages", "warning": "tickets", "info": "nobody"}


def tree(given: Answers) -> Tree:
    """Render what watches a service with these answers."""
    return watching_files(Resolver(TEMPLATE).resolve(given))


def watching_files(answers: Answers) -> Tree:
    """Render what watches a service, of complete answers."""
    excluded = RENDERER.excluded(answers)
    return {
        path: RENDERER.content(path, answers)
        for path in RENDERER.sources
        if path.startswith((MONITORING, RUNBOOKS)) and not excluded(path)
    }


@pytest.fixture(scope="module")
def everything() -> Tree:
    """All that can watch a service."""
    return tree(EVERYTHING)


def distinct_trees() -> list[tuple[str, Tree]]:
    """Give what watches services, for each set of pieces that makes a difference."""
    pieces = [name for name in TEMPLATE.pieces if name.startswith("monitored_")]
    found = {}
    for projection in MATRIX.projections(fixed={"monitoring": True}, pieces=pieces):
        on = [name for name in pieces if name in projection.answers["active"]]
        found["-".join(on) or "none"] = watching_files(projection.answers)
    return list(found.items())


@pytest.fixture(scope="module")
def services() -> list[tuple[str, Tree]]:
    """What watches services, for each set of pieces that makes a difference."""
    found = distinct_trees()
    assert len(found) > 10
    return found


@pytest.fixture
def place_of(tmp_path: Path) -> Callable[[Tree], Path]:
    """Write files to a directory."""

    def write(files: Tree) -> Path:
        return RENDERER.write(files, tmp_path / "service")

    return write


def judged(
    name: str | Path, *arguments: str | Path, at: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    try:
        return watching.run(str(name), *arguments, at=at)
    except LookupError as error:
        pytest.skip(str(error))


def accepted(name: str | Path, *arguments: str | Path, at: Path | None = None) -> None:
    answer = judged(name, *arguments, at=at)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def refused(name: str | Path, *arguments: str | Path, at: Path | None = None) -> None:
    answer = judged(name, *arguments, at=at)
    assert answer.returncode != 0, answer.stdout + answer.stderr


# --- Prometheus ---


@pytest.mark.parametrize("given", [EVERYTHING, NOTHING], ids=["everything", "nothing"])
def test_prometheus_understands_its_configuration(
    given: Answers, place_of: Callable[[Tree], Path]
) -> None:
    accepted("promtool", "check", "config", place_of(tree(given)) / PROMETHEUS / "prometheus.yml")


@pytest.mark.parametrize(
    ("path", "sound", "fault"),
    [
        (f"{PROMETHEUS}prometheus.yml", "scrape_interval", "scrape_intervall"),
        (f"{PROMETHEUS}prometheus.yml", "interval: 15s", "interval: 15"),
        (f"{RULES}http.yml", "sum by (namespace", "sum by namespace"),
        (f"{RULES}http.yml", "$labels.route }}", "$labels.route }"),
        (f"{RULES}http.yml", "for: 10m", "for: ten"),
    ],
)
def test_prometheus_refuses_a_fault(
    path: str, sound: str, fault: str, everything: Tree, place_of: Callable[[Tree], Path]
) -> None:
    directory = place_of(broken(everything, path, sound, fault))
    refused("promtool", "check", "config", directory / PROMETHEUS / "prometheus.yml")


def broken(files: Tree, path: str, sound: str, fault: str) -> Tree:
    """Replace a text in one of some files."""
    assert sound.encode() in files[path], f"{path} has no {sound!r} to break"
    return {**files, path: files[path].replace(sound.encode(), fault.encode(), 1)}


def test_rules_do_what_their_tests_say(everything: Tree, place_of: Callable[[Tree], Path]) -> None:
    directory = place_of(everything) / RULE_TESTS
    files = sorted(file.name for file in directory.iterdir())
    accepted("promtool", "test", "rules", *files, at=directory)


def test_each_alert_is_shown_to_fire_and_to_be_silent(everything: Tree) -> None:
    shown: dict[bool, set[str]] = {True: set(), False: set()}
    for path, content in everything.items():
        if path.startswith(RULE_TESTS):
            for test in yaml.safe_load(content)["tests"]:
                for case in test["alert_rule_test"]:
                    shown[bool(case.get("exp_alerts"))].add(case["alertname"])
    assert shown[True] == shown[False] == alerts(everything).keys()


@pytest.mark.parametrize("always", [False, True], ids=["never", "always"])
def test_alerts_that_ignore_the_figures_are_noticed(
    always: bool, everything: Tree, place_of: Callable[[Tree], Path]
) -> None:
    changed = dict(everything)
    for path in everything:
        if path.startswith(RULES):
            document = yaml.safe_load(everything[path])
            for group in document["groups"]:
                for rule in group["rules"]:
                    if "alert" in rule:
                        rule["expr"] = "vector(1)" if always else "vector(1) > 2"
            changed[path] = yaml.safe_dump(document).encode()
    directory = place_of(changed) / RULE_TESTS
    files = sorted(file.name for file in directory.iterdir())
    answer = judged("promtool", "test", "rules", *files, at=directory)
    noticed = set(re.findall(r"alertname: (\w+)", answer.stdout + answer.stderr))
    assert noticed == alerts(everything).keys()


WEAKER = {
    "probes count": ("slo", 'route!~"/health|/health/detailed|/ready', 'route!~"/nothing'),
    "callers who left count": ("slo", 'status!~"5..|499|101"', 'status!~"5.."'),
    "a few wake": ("slo", 'increase1h{slo="availability"} > 10', "increase1h > 0"),
    "no short window": ("slo", "and job:slo_burn_rate:5m", "and job:slo_burn_rate:1h"),
    "another objective": ("slo", "* 0.001", "* 0.01"),
    "a pool with room is full": ("database", "use:ratio >= 1", "use:ratio > 0.8"),
    "first events are missed": ("jobs", "unless max_over_time", "and max_over_time"),
    "a gap is a beginning": (
        "jobs",
        'max_over_time(jobs_finished_total{outcome="given_up"}[15m] offset 15m)',
        'jobs_finished_total{outcome="given_up"} offset 15m',
    ),
    "half open counts": (
        "upstreams",
        "upstream_breaker_state) == 2",
        "upstream_breaker_state) > 0",
    ),
    "one process decides": ("service", "min by (", "max by ("),
    "others are taken for ours": (
        "service",
        "unless max by (namespace, job)",
        "unless on (job) max by (job)",
    ),
}
"""Rules that say a little less than they should: in a file, the one text in the other's place."""


@pytest.mark.parametrize(("stem", "sound", "fault"), WEAKER.values(), ids=WEAKER)
def test_a_rule_that_says_less_is_noticed(
    stem: str, sound: str, fault: str, everything: Tree, place_of: Callable[[Tree], Path]
) -> None:
    changed = everything[f"{RULES}{stem}.yml"].decode()
    assert sound in changed
    files = {**everything, f"{RULES}{stem}.yml": changed.replace(sound, fault).encode()}
    directory = place_of(files) / RULE_TESTS
    refused("promtool", "test", "rules", f"{stem}.yml", at=directory)


def test_alerts_say_what_is_needed(everything: Tree) -> None:
    for name, rule in alerts(everything).items():
        assert rule["labels"]["severity"] in SEVERITIES, name
        assert rule["labels"]["area"], name
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}, name


def test_each_alert_has_its_page_and_each_page_its_alert(services: list[tuple[str, Tree]]) -> None:
    for name, files in services:
        linked = {
            rule["annotations"]["runbook_url"]: alert for alert, rule in alerts(files).items()
        }
        pages = {path for path in files if path.startswith(RUNBOOKS)}
        assert linked.keys() == pages, name
        for page, alert in linked.items():
            assert files[page].decode().startswith(f"# {alert}\n"), page


def test_pages_lead_to_pages_that_are_there(services: list[tuple[str, Tree]]) -> None:
    for name, files in services:
        for path in files:
            if path.startswith(RUNBOOKS):
                for page in re.findall(r"\]\((\w+\.md)\)", files[path].decode()):
                    assert f"{RUNBOOKS}{page}" in files, f"{name}: {path}"


# --- Alertmanager ---


@pytest.mark.parametrize(("severity", "receiver"), SEVERITIES.items())
def test_alerts_reach_their_receivers(
    severity: str, receiver: str, everything: Tree, place_of: Callable[[Tree], Path]
) -> None:
    file = place_of(everything) / MONITORING / "alertmanager/alertmanager.yml"
    accepted("amtool", "check-config", file)
    accepted(*routes(file, severity, receiver))
    refused(*routes(file, severity, "somebody"))


def routes(file: Path, severity: str, receiver: str) -> tuple[str | Path, ...]:
    test = ("config", "routes", "test", "--config.file", file, "--verify.receivers", receiver)
    return ("amtool", *test, f"severity={severity}")


@pytest.mark.parametrize(
    ("sound", "fault"),
    [
        ("receiver: pages", "receiver: nobody-known"),
        ("group_wait", "group_await"),
        ('severity="critical"', 'severity~"critical"'),
    ],
)
def test_alertmanager_refuses_a_fault(
    sound: str, fault: str, everything: Tree, place_of: Callable[[Tree], Path]
) -> None:
    path = f"{MONITORING}alertmanager/alertmanager.yml"
    refused("amtool", "check-config", place_of(broken(everything, path, sound, fault)) / path)


@contextmanager
def alertmanager(directory: Path) -> Iterator[str]:
    """Run Alertmanager by its configuration."""
    found = watching.program("alertmanager") or watching.program("prometheus-alertmanager")
    if found is None or ("prometheus-" in found and not DEBIANS_TEMPLATE.exists()):
        pytest.skip("no alertmanager program, or none with its templates: .ci/prometheus, as root")
    port = free_port()
    options = {
        "config.file": directory / MONITORING / "alertmanager/alertmanager.yml",
        "storage.path": directory / "alerts",
        "web.listen-address": f"127.0.0.1:{port}",
        "cluster.listen-address": "",
    }
    with started([found, *(f"--{name}={value}" for name, value in options.items())]):
        url = f"http://127.0.0.1:{port}/api/v2"
        until("Alertmanager", lambda: httpx2.get(f"{url}/status").status_code == 200)
        yield url


@contextmanager
def started(command: list[str]) -> Iterator[None]:
    """Run a program, which is gone when the block is left."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def until(what: str, look: Callable[[], Any]) -> Any:
    """Look again and again until something is found."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if found := look():
                return found
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"there is no {what}")


@pytest.mark.parametrize(
    ("source", "others", "silent"),
    [
        (
            ("DatabasePoolExhausted", {"database": "database"}),
            [
                ("DatabasePoolNearlyFull", {"database": "database"}),
                ("DatabasePoolNearlyFull", {"database": "other"}),
                ("MemoryHigh", {}),
            ],
            [True, False, False],
        ),
        (
            ("ServiceMissing", {}),
            [
                ("RedisAway", {"job": "api"}),
                ("LatencyBudgetBurnsFast", {"job": "api", "slo": "latency"}),
                ("MonitoringTargetDown", {"job": "loki"}),
            ],
            [True, True, False],
        ),
    ],
    ids=["a pool", "no service"],
)
def test_what_follows_from_an_alert_is_silent(
    source: tuple[str, dict[str, str]],
    others: list[tuple[str, dict[str, str]]],
    silent: list[bool],
    everything: Tree,
    place_of: Callable[[Tree], Path],
) -> None:
    known = alerts(everything)
    sent = [
        {"labels": {"alertname": name, **known[name]["labels"], **labels}}
        for name, labels in (source, *others)
    ]
    with alertmanager(place_of(everything)) as url:
        httpx2.post(f"{url}/alerts", json=sent, timeout=60).raise_for_status()

        def silenced() -> list[bool]:
            found = {
                tuple(sorted(each["labels"].items())): bool(each["status"]["inhibitedBy"])
                for each in httpx2.get(f"{url}/alerts", timeout=60).json()
            }
            return [found[tuple(sorted(each["labels"].items()))] for each in sent]

        # It hears of the alerts one after the other.
        until("verdict", lambda: silenced() == [False, *silent])


# --- Grafana ---


def dashboards(files: Tree) -> dict[str, dict[str, Any]]:
    """Give the dashboards of a service by their file's name."""
    return {
        Path(path).stem: json.loads(content)
        for path, content in files.items()
        if path.startswith(DASHBOARDS)
    }


def schema(name: str) -> dict[str, Any]:
    file = SCHEMAS / name
    if not file.exists():
        pytest.skip(f"{file} is not here: it belongs to others and is only test data")
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return found


def misfits(name: str, dashboard: dict[str, Any]) -> Iterator[str]:
    """Say what Grafana's own schemas do not allow in a dashboard."""
    for error in Draft7Validator(schema("grafana/dashboard.jsonschema.json")).iter_errors(
        dashboard
    ):
        yield f"{name}: {error.json_path}: {error.message[:200]}"
    for panel in dashboard["panels"]:
        kind = panel["type"].replace("-", "")
        if kind == "row":
            continue
        own = schema(f"grafana/{kind}.jsonschema.json")
        parts = {
            "Options": panel["options"],
            "FieldConfig": panel["fieldConfig"]["defaults"].get("custom"),
        }
        for part, value in parts.items():
            if value is not None and part in own["definitions"]:
                judge = Draft7Validator({**own, "$ref": f"#/definitions/{part}"})
                for error in judge.iter_errors(value):
                    yield f"{name}: {panel['title']}: {error.message[:200]}"


def faults(name: str, dashboard: dict[str, Any], sources: Mapping[str, str]) -> Iterator[str]:
    """Say what does not fit together in a dashboard.

    Args:
        name: of its file.
        dashboard: as Grafana reads it.
        sources: the kinds of the provisioned data sources by uid.
    """
    for kind, uid in _sources_named(dashboard):
        if sources.get(uid) != kind:
            yield f"{name}: there is no {kind} with the uid {uid}"
    for link in dashboard["links"]:
        if not set(link["tags"]) <= set(dashboard["tags"]):
            yield f"{name}: a link leads to {link['tags']}, where it is not itself"
    yield from _faults_of_variables(name, dashboard)
    yield from _faults_of_panels(name, dashboard["panels"])


def _faults_of_variables(name: str, dashboard: dict[str, Any]) -> Iterator[str]:
    declared = {variable["name"] for variable in dashboard["templating"]["list"]}
    queries = list(dashboard_queries(name, dashboard))
    for query in queries:
        for variable in query.variables - declared:
            yield f"{query.where}: ${variable} is not declared"
    for variable in declared.difference(*(query.variables for query in queries)):
        yield f"{name}: ${variable} is not used"


def _faults_of_panels(name: str, panels: list[dict[str, Any]]) -> Iterator[str]:
    if len({panel["id"] for panel in panels}) < len(panels):
        yield f"{name}: two panels have the same id"
    taken = set[tuple[int, int]]()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        if cells & taken or at["x"] + at["w"] > 24:
            yield f"{name}: {panel['title']} covers another panel, or the margin"
        taken |= cells
        if panel["type"] != "row" and not panel["description"]:
            yield f"{name}: {panel['title']} does not say what it shows"


def _sources_named(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        if "datasource" in value:
            yield value["datasource"]["type"], value["datasource"]["uid"]
        for each in value.values():
            yield from _sources_named(each)
    elif isinstance(value, list):
        for each in value:
            yield from _sources_named(each)


def provisioned(files: Tree) -> dict[str, str]:
    """Give the kinds of data sources by uid."""
    path = f"{MONITORING}grafana/provisioning/datasources/datasources.yml"
    return {each["uid"]: each["type"] for each in yaml.safe_load(files[path])["datasources"]}


def test_grafana_understands_the_dashboards(everything: Tree) -> None:
    found = dashboards(everything)
    assert len(found) >= 10
    assert [line for name, each in found.items() for line in misfits(name, each)] == []


def test_dashboards_fit_together(everything: Tree) -> None:
    found, sources = dashboards(everything), provisioned(everything)
    assert [line for name, each in found.items() for line in faults(name, each, sources)] == []
    assert len({each["uid"] for each in found.values()}) == len(found)
    home = yaml.safe_load(everything[f"{MONITORING}grafana/provisioning/dashboards/dashboards.yml"])
    assert home["providers"][0]["options"]["path"] == "/var/lib/grafana/dashboards"


def _panel(dashboard: dict[str, Any]) -> dict[str, Any]:
    panel: dict[str, Any] = dashboard["panels"][1]
    return panel


def test_dashboard_offers_tasks_that_only_finish(everything: Tree) -> None:
    """As where another process has enqueued them, that nobody asks for figures."""
    dashboard = json.loads(everything[f"{DASHBOARDS}jobs.json"])
    [asked] = [each.text for each in dashboard_queries("jobs", dashboard) if "$task" in each.where]
    [names] = re.findall(r'__name__=~"([^"]+)"', asked)
    for name in ("jobs_enqueued_total", "jobs_finished_total"):
        assert re.fullmatch(names, name)


def _other_source(dashboard: dict[str, Any]) -> None:
    _panel(dashboard)["targets"][0]["datasource"]["uid"] = "else"


def _other_variable(dashboard: dict[str, Any]) -> None:
    _panel(dashboard)["targets"][0]["expr"] = 'up{job="$unknown"}'


def _same_place(dashboard: dict[str, Any]) -> None:
    _panel(dashboard)["gridPos"] = dashboard["panels"][2]["gridPos"]


def _same_number(dashboard: dict[str, Any]) -> None:
    _panel(dashboard)["id"] = dashboard["panels"][2]["id"]


def _unused_variable(dashboard: dict[str, Any]) -> None:
    dashboard["templating"]["list"].append({"type": "textbox", "name": "idle"})


@pytest.mark.parametrize(
    "spoil", [_other_source, _other_variable, _same_place, _same_number, _unused_variable]
)
def test_a_dashboard_that_does_not_fit_is_noticed(
    spoil: Callable[[dict[str, Any]], None], everything: Tree
) -> None:
    dashboard = deepcopy(dashboards(everything)["overview"])
    spoil(dashboard)
    assert list(faults("overview", dashboard, provisioned(everything)))


@pytest.mark.parametrize(
    ("kind", "part", "key"),
    [
        ("timeseries", "options", "legends"),
        ("stat", "options", "colourMode"),
        ("stat", "fieldConfig", "default"),
        ("stat", "", "titel"),
    ],
)
def test_grafanas_schema_refuses_a_fault(kind: str, part: str, key: str, everything: Tree) -> None:
    dashboard = deepcopy(dashboards(everything)["overview"])
    panel = next(each for each in dashboard["panels"] if each["type"] == kind)
    (panel[part] if part else panel)[key] = {}
    assert list(misfits("overview", dashboard))


def test_dashboards_ask_in_promql(everything: Tree, tmp_path: Path) -> None:
    queries = [
        query
        for name, dashboard in dashboards(everything).items()
        for query in dashboard_queries(name, dashboard)
        if query.language == "prometheus"
    ]
    assert len(queries) > 80
    accepted(*parsing(queries, tmp_path))


def test_a_query_that_is_no_promql_is_noticed(tmp_path: Path) -> None:
    refused(*parsing([Query("here", "prometheus", "sum(rate(up[5m])")], tmp_path))


def parsing(queries: list[Query], place: Path) -> tuple[str | Path, ...]:
    """Have promtool parse queries: as rules, which it can check."""
    records = [
        {"record": f"query:{number}", "expr": query.plain} for number, query in enumerate(queries)
    ]
    file = place / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": records}]}), "utf-8")
    return "promtool", "check", "rules", file


# --- Loki and Vector ---


@pytest.mark.parametrize(
    ("path", "name", "sound", "fault"),
    [
        ("vector/vector.yml", "vector", "codec: text", "kodec: text"),
        ("loki/loki.yml", "loki", "auth_enabled: false", "auth_enabled: [no]"),
    ],
)
def test_logs_are_configured_by_the_schema(
    path: str, name: str, sound: str, fault: str, everything: Tree
) -> None:
    rules_of = schema(f"schemastore/{name}.json")
    content = everything[MONITORING + path].decode()
    assert sound in content
    for text, fine in ((content, True), (content.replace(sound, fault), False)):
        found = list(Draft7Validator(rules_of).iter_errors(yaml.safe_load(text)))
        assert (not found) == fine, found[:1]


def dangling(configuration: Mapping[str, Any]) -> set[str]:
    """Name inputs that nothing gives, and what nobody takes."""
    given = {*configuration["sources"], *configuration["transforms"]}
    taking = [*configuration["transforms"].values(), *configuration["sinks"].values()]
    return {name for each in taking for name in each["inputs"]} ^ given


def test_vector_is_joined_together(everything: Tree) -> None:
    configuration = yaml.safe_load(everything[f"{MONITORING}vector/vector.yml"])
    assert not dangling(configuration)
    configuration["sinks"]["loki"]["inputs"] = ["parsd"]
    assert dangling(configuration) == {"parsed", "parsd"}


def test_no_id_is_a_label_of_the_logs(everything: Tree) -> None:
    sink = yaml.safe_load(everything[f"{MONITORING}vector/vector.yml"])["sinks"]["loki"]
    assert sink["labels"].keys() == {"service", "level", "stream"}
    assert "request_id" in sink["structured_metadata"]


# --- Compose ---


@pytest.fixture(scope="module")
def containers() -> dict[str, dict[str, Any]]:
    """The services of compose's file about all this, those of the service itself among them."""
    answers = Resolver(TEMPLATE).resolve(EVERYTHING)
    found: dict[str, dict[str, Any]] = yaml.safe_load(RENDERER.content(COMPOSE, answers))[
        "services"
    ]
    return found


def test_what_watches_is_confined(containers: dict[str, dict[str, Any]], everything: Tree) -> None:
    for name in containers.keys() - set(OWN_NAMES):
        container = containers[name]
        assert container["profiles"] == ["monitoring"], name
        assert re.search(r":v?\d+\.\d+\.\d+", container["image"]), name
        assert container["read_only"], name
        assert container["cap_drop"] == ["ALL"], name
        assert container["healthcheck"]["test"][0] == "CMD", name
        assert container["deploy"]["resources"]["limits"]["memory"], name
        for port in container.get("ports", ()):
            assert port.startswith("127.0.0.1:"), name
        for volume in container["volumes"]:
            source = volume.partition(":")[0]
            if source.startswith("../../"):
                assert volume.endswith(":ro"), name
                assert any(path.startswith(source[6:]) for path in everything), volume


def test_names_of_hosts_are_those_of_containers(
    containers: dict[str, dict[str, Any]], everything: Tree
) -> None:
    known = {"localhost", *containers.keys() - set(OWN_NAMES)}
    for name in OWN_NAMES:
        known |= set(containers[name]["networks"]["watching"]["aliases"])
    configuration = yaml.safe_load(everything[f"{PROMETHEUS}prometheus.yml"])
    asked = set[str]()
    for job in [*configuration["scrape_configs"], *configuration["alerting"]["alertmanagers"]]:
        for found in job.get("dns_sd_configs", ()):
            asked |= set(found["names"])
        for found in job.get("static_configs", ()):
            asked |= {target.partition(":")[0] for target in found["targets"]}
    for path in ("grafana/provisioning/datasources/datasources.yml", "vector/vector.yml"):
        asked |= set(re.findall(r"http://([\w.]+):", everything[MONITORING + path].decode()))
    assert asked == known


# --- What is asked for is there ---


def all_queries(files: Tree) -> list[Query]:
    """Give all that rules and dashboards ask of Prometheus."""
    asked = [
        query
        for name, dashboard in dashboards(files).items()
        for query in dashboard_queries(name, dashboard)
    ]
    return [*rule_queries(files), *(each for each in asked if each.language == "prometheus")]


def test_metrics_are_read_off_a_query() -> None:
    text = """
        sum by (job, le) (rate(a_bucket{b="c{d}", e=~"$f"}[5m])) > bool 1e3
        and on (x) group_left (y) z:w:p95_5m offset 1h unless absent(up == 0) or vector(1)
    """
    query = Query("here", "prometheus", text)
    assert query.metrics == {"a_bucket", "z:w:p95_5m", "up"}
    assert list(query.labels) == [("a_bucket", {"b", "e"})]


def test_what_is_recorded_is_asked_for_where_it_is_recorded(
    services: list[tuple[str, Tree]],
) -> None:
    for name, files in services:
        recorded = {rule["record"] for _, rule in rules(files) if "record" in rule}
        asked = {metric for query in all_queries(files) for metric in query.metrics}
        assert recorded == {metric for metric in asked if ":" in metric}, name


def test_nothing_is_asked_of_a_piece_that_is_off(services: list[tuple[str, Tree]]) -> None:
    seen = set[str]()
    for name, files in services:
        asked = {metric for query in all_queries(files) for metric in query.metrics}
        for piece, pattern in OF_PIECES.items():
            found = {metric for metric in asked if re.fullmatch(pattern, metric)}
            assert bool(found) == (f"monitored_{piece}" in name.split("-")), f"{name}: {found}"
            seen |= found
    assert len(seen) > len(OF_PIECES)


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Path, Running]]:
    """A service that has everything, with its directory."""
    if redis_program() is None:
        pytest.skip("no redis-server program")
    answers = Resolver(TEMPLATE).resolve(EVERYTHING)
    place = tmp_path_factory.mktemp("watched")
    directory = RENDERER.write(RENDERER.tree(answers), place / "service")
    addresses = new_databases(directory, f"sqlite:///{place}/data")
    python(directory, "-m", "app.core.migrate", **addresses)
    with ExitStack() as stack:
        redis_port = stack.enter_context(redis_server())
        with Redis(port=redis_port) as redis:
            redis.config_set("maxmemory", "64mb")  # Without a limit there is no figure of it.
        issuer = stack.enter_context(token_issuer(directory))
        vault = {}
        if vault_program() is not None:
            client = stack.enter_context(vault_server())
            vault = stored(client, directory, "watched", {"SECRET_KEY": "k" * 40})
        port = free_port()
        variables = environment(
            **{**addresses, **issuer.variables, **vault},
            GATEWAY_UPSTREAMS="nowhere=http://127.0.0.1:9",
            HTTP_PRIVATE_NETWORKS="127.0.0.0/8",
            REDIS_URL=f"redis://127.0.0.1:{redis_port}",
            PORT=str(port),
        )
        with running([sys.executable, "-m", "app"], directory, port, variables) as server:
            server.wait_until("/ready")
            for path in ("/api/v1/projects", "/services/nowhere/x"):
                server.get(path, issuer.token)
            server.get("/api/v1/projects", "no.such.token")
            yield directory, server


def families(text: str) -> set[str]:
    """Name all series that a page of figures may have."""
    found = set[str]()
    for name, kind in re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE):
        ends = ("_bucket", "_count", "_sum") if kind == "histogram" else ("",)
        found |= {name + end for end in ends}
    return found


def labels_of(text: str) -> dict[str, set[str]]:
    """Name the labels of each metric of which there are figures."""
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^([a-z]\w*)(?:\{(.*)\})? \S+$", text, re.MULTILINE):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


@pytest.mark.parametrize("of_vault", [False, True], ids=["all but vault", "vault"])
def test_the_service_gives_what_is_asked_for(
    of_vault: bool, service: tuple[Path, Running], everything: Tree
) -> None:
    if of_vault and vault_program() is None:
        pytest.skip("no vault program: .ci/vault/build, or name one by VAULT_BINARY")
    given = families(service[1].get("/metrics").text)
    asked = {
        metric: query.where
        for query in all_queries(everything)
        for metric in query.metrics
        if ":" not in metric and not re.fullmatch(OTHERS, metric)
    }
    assert "component_up" in asked
    assert "never_measured_total" not in given
    wanted = {each for each in asked if bool(re.fullmatch(OF_PIECES["vault"], each)) == of_vault}
    assert {metric: asked[metric] for metric in wanted - given} == {}


def test_figures_have_the_labels_by_which_they_are_chosen(
    service: tuple[Path, Running], everything: Tree
) -> None:
    given = labels_of(service[1].get("/metrics").text)
    chosen = [
        (query.where, metric, labels - OF_PROMETHEUS - given[metric])
        for query in all_queries(everything)
        for metric, labels in query.labels
        if metric in given
    ]
    assert len({metric for _, metric, _ in chosen}) > 15
    assert [each for each in chosen if each[2]] == []


@contextmanager
def prometheus(directory: Path, port: int) -> Iterator[str]:
    """Run Prometheus by its configuration, quicker than usual, on a service here."""
    found = watching.program("prometheus")
    if found is None:
        pytest.skip("no prometheus program: .ci/prometheus fetches it")
    place = directory / PROMETHEUS
    for file in (place / "prometheus.yml", *(place / "rules").iterdir()):
        quick = re.sub(r"interval: \d+s", "interval: 1s", file.read_text("utf-8"))
        file.write_text(quick.replace("timeout: 10s", "timeout: 1s"), "utf-8")
    (place / "targets").mkdir()
    target = [{"targets": [f"127.0.0.1:{port}"], "labels": {"job": "api"}}]
    (place / "targets/here.yml").write_text(yaml.safe_dump(target), "utf-8")
    own = free_port()
    options = {
        "config.file": place / "prometheus.yml",
        "storage.tsdb.path": directory / "figures",
        "web.listen-address": f"127.0.0.1:{own}",
    }
    with started([found, *(f"--{name}={value}" for name, value in options.items())]):
        url = f"http://127.0.0.1:{own}"
        # It listens before it has read its rules.
        until("Prometheus", lambda: httpx2.get(f"{url}/-/ready").status_code == 200)
        yield f"{url}/api/v1"


def test_prometheus_reads_the_service_and_evaluates_every_rule(
    service: tuple[Path, Running], everything: Tree
) -> None:
    directory, server = service
    port = int(server.url.rpartition(":")[2])

    with prometheus(directory, port) as url:

        def ask(path: str, **parameters: str) -> Any:
            return httpx2.get(f"{url}/{path}", params=parameters, timeout=60).json()["data"]

        def evaluated() -> Any:
            groups = ask("rules")["groups"]
            found = [rule for group in groups for rule in group["rules"]]
            return found if all(rule["health"] != "unknown" for rule in found) else None

        def recorded() -> Any:
            server.get("/api/v1/projects")
            return ask("query", query='route:http_requests:rate5m{route=~".*/projects"} > 0')[
                "result"
            ]

        until("figures", lambda: ask("query", query='up{job="api"} == 1')["result"])
        until("rates", recorded)
        found = until("verdicts", evaluated)

    assert len(found) == len(list(rules(everything)))
    assert [rule["name"] for rule in found if rule["health"] != "ok"] == []
