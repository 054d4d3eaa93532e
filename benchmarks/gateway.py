"""What the gateway costs: requests and bytes through it and past it."""

from collections.abc import Iterator, Sequence
from functools import partial
from statistics import median

from benchmarks.figures import Effort, Figure, in_turn, number, ratios
from benchmarks.load import request
from benchmarks.programs import Asked, Server, directory
from tests.support.gateways import Gateway, gateway_running
from tests.support.runs import Running

NAMES = ("gateway",)

PREFIX = "/services/orders"
PATHS = {"health": "/health", "caller by token": "/api/v1/auth/me"}
SIZE = 20_000_000
DIRECT, THROUGH = "upstream, past it", "gateway alone"


def measure(_: Sequence[str], effort: Effort) -> Iterator[Figure]:
    """Run a gateway, and measure."""
    with directory() as place, gateway_running(place) as gateway:
        yield from compare(gateway, effort)


def compare(gateway: Gateway, effort: Effort) -> Iterator[Figure]:
    """Ask a service past a gateway that runs, and through it."""
    for title, path in PATHS.items():
        yield from _compared(title, _in_turn(gateway, path, effort))
    yield from _downloads(_in_turn(gateway, f"/api/v1/bulk/{SIZE}", effort, connections=1))


def _in_turn(gateway: Gateway, path: str, effort: Effort, **options: int) -> dict[str, list[Asked]]:
    token = gateway.issuer.token
    upstream, front = _server(gateway.upstreams["orders"]), _server(gateway.server)
    measures = {
        DIRECT: partial(upstream.asked, request(path, token), effort.seconds, **options),
        THROUGH: partial(front.asked, request(PREFIX + path, token), effort.seconds, **options),
    }
    if not effort.brief:
        in_turn(1, measures)  # so that all are warm
    return in_turn(effort.rounds, measures)


def _compared(title: str, found: dict[str, list[Asked]]) -> Iterator[Figure]:
    costs = {of: [each.milliseconds for each in every] for of, every in found.items()}
    for of, every in costs.items():
        yield Figure(
            name=f"gateway, {title}",
            of=of,
            unit="ms CPU",
            values=every,
            ratios={} if of == DIRECT else ratios(every, {DIRECT: costs[DIRECT]}),
            beside=f"{number(median(each.rate for each in found[of]))} requests/s",
        )


def _downloads(found: dict[str, list[Asked]]) -> Iterator[Figure]:
    """How much CPU a megabyte takes, and how many come in a second."""
    costs = {of: [each.cpu / each.load.size * 1e9 for each in every] for of, every in found.items()}
    for of, every in costs.items():
        rate = median(each.load.size / each.load.seconds / 1e6 for each in found[of])
        yield Figure(
            name="gateway, download",
            of=of,
            unit="ms CPU/MB",
            values=every,
            ratios={} if of == DIRECT else ratios(every, {DIRECT: costs[DIRECT]}),
            beside=f"{number(rate)} MB/s",
        )


def _server(running: Running) -> Server:
    return Server(int(running.url.rpartition(":")[2]), running.process)
