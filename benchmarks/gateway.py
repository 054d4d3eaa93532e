"""What the gateway costs: requests a second through it and past it, and bytes a second.

    .venv/bin/python -m benchmarks.gateway

Prints figures and asserts nothing: they are of the machine, and only the ratio says much.
"""

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import aiohttp

from tests.support.gateways import gateway_running

CONNECTIONS = 16
SECONDS = 5.0
SIZE = 500_000_000


async def requests_a_second(url: str, headers: dict[str, str]) -> float:
    """Ask as often as possible on some connections."""
    count = 0
    end = perf_counter() + SECONDS

    async def ask(session: aiohttp.ClientSession) -> None:
        nonlocal count
        while perf_counter() < end:
            async with session.get(url) as answer:
                await answer.read()
                if answer.status != 200:
                    raise RuntimeError(f"{url} answers {answer.status}")
            count += 1

    async with aiohttp.ClientSession(headers=headers) as session:
        await ask(session)  # one by one first, to be warm
        count, end = 0, perf_counter() + SECONDS
        await asyncio.gather(*(ask(session) for _ in range(CONNECTIONS)))
    return count / SECONDS


async def bytes_a_second(url: str, headers: dict[str, str]) -> float:
    """Download something large."""
    started, size = perf_counter(), 0
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as answer:
        async for part in answer.content.iter_any():
            size += len(part)
    if size != SIZE:
        raise RuntimeError(f"{url} has sent {size} bytes")
    return size / (perf_counter() - started)


async def compare(direct: str, through: str, headers: dict[str, str]) -> list[str]:
    """Measure both ways."""
    lines = []
    for path in ("/health", "/api/v1/auth/me"):
        past = await requests_a_second(direct + path, headers)
        by = await requests_a_second(through + path, headers)
        lines.append(f"{path}: {past:.0f}/s direct, {by:.0f}/s through, ratio {by / past:.2f}")
    bulk = f"/api/v1/bulk/{SIZE}"
    past, by = (
        await bytes_a_second(direct + bulk, headers),
        await bytes_a_second(through + bulk, headers),
    )
    rates = f"{past / 1e6:.0f} MB/s direct, {by / 1e6:.0f} MB/s through"
    return [*lines, f"download: {rates}, ratio {by / past:.2f}"]


def main() -> None:
    """Start a gateway and its upstreams, measure, and print."""
    with (
        TemporaryDirectory(prefix="groundwork-", ignore_cleanup_errors=True) as place,
        gateway_running(Path(place).resolve()) as gateway,
    ):
        through = f"{gateway.server.url}/services/orders"
        direct = gateway.upstreams["orders"].url
        lines = asyncio.run(compare(direct, through, gateway.headers))
    sys.stdout.write("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
