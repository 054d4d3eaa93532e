"""What a request costs the service, and what it costs bare programs that do the same.

Compared is the CPU that the server takes for each request, which is far steadier on a machine that
others use too than how many it answers a second.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from statistics import median

from benchmarks.figures import Effort, Figure, in_turn, number, ratios
from benchmarks.load import UNIQUE, request
from benchmarks.programs import FASTAPI, LOGGING, Programs, Server

ROWS = 120
"""In the table, at least: a list has a hundred."""

PROJECTS = "/api/v1/projects"
NAMES = ("health", "me", "point", "list", "insert")
TITLES = {
    "health": "health, open",
    "me": "caller by token",
    "point": "row by token",
    "list": "100 rows by token",
    "insert": "insert by token",
}


def measure(names: Sequence[str], effort: Effort, made: Programs) -> Iterator[Figure]:
    """Measure some of these requests."""
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(program.running()) for name, program in made.all.items()
        }
        for server in servers.values():
            server.first_answer()
        for name, asked in _requests(servers["service"], made.token).items():
            if name in names:
                yield from _compared(name, asked, servers, effort)


def _requests(service: Server, token: str) -> Mapping[str, str]:
    """What is asked, by name; the table has rows then."""
    body = json.dumps({"name": "A project of some length", "slug": UNIQUE})
    insert = request(PROJECTS, token, body)
    service.asked(insert, 60, most=ROWS)
    [project] = json.loads(service.get(f"{PROJECTS}?limit=1", token))["items"]
    return {
        "health": request("/health"),
        "me": request("/api/v1/auth/me", token),
        "point": request(f"{PROJECTS}/{project['id']}", token),
        "list": request(f"{PROJECTS}?limit=100", token),
        "insert": insert,
    }


def _compared(
    name: str, asked: str, servers: Mapping[str, Server], effort: Effort
) -> Iterator[Figure]:
    measures = {of: partial(server.asked, asked, effort.seconds) for of, server in servers.items()}
    if not effort.brief:
        in_turn(1, measures)  # so that all are warm
    found = in_turn(effort.rounds, measures)
    costs = {of: [each.milliseconds for each in every] for of, every in found.items()}
    for of, every in costs.items():
        marks = {mark: costs[mark] for mark in _marks(of)}
        yield Figure(
            name=TITLES[name],
            of=of,
            unit="ms CPU",
            values=every,
            ratios=ratios(every, marks),
            beside=f"{number(median(each.rate for each in found[of]))} requests/s",
        )


def _marks(of: str) -> tuple[str, ...]:
    if of == "service":
        return FASTAPI, LOGGING
    return () if of == FASTAPI else (FASTAPI,)
