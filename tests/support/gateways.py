"""A gateway and the services behind it, all rendered from this template and really run."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.answers import Resolver
from tests.support.render import Renderer
from tests.support.runs import (
    Issuer,
    Running,
    database_server,
    free_port,
    new_databases,
    of_production,
    python,
    running,
    token_issuer,
)
from tests.support.template import Answers, Template

UPSTREAMS = ("orders", "stock")
LARGEST_BODY = 2_000_000_000

ENDPOINTS = '''\
"""Bodies of any size, for the gateway's tests."""

from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

router = APIRouter(prefix="/bulk")
PART = bytes(65_536)


@router.get("/{size}")
async def download(size: int) -> StreamingResponse:
    """Send so many bytes."""

    async def parts() -> AsyncIterator[bytes]:
        left = size
        while left > 0:
            yield PART[:left]
            left -= len(PART)

    return StreamingResponse(parts(), headers={"Content-Length": str(size)})


@router.post("")
async def upload(request: Request) -> int:
    """Count the bytes."""
    size = 0
    async for part in request.stream():
        size += len(part)
    return size
'''
"""What is added to the upstreams as their owner would."""


@dataclass(frozen=True)
class Gateway:
    """The gateway and its upstreams, and who may ask them."""

    server: Running
    upstreams: Mapping[str, Running]
    issuer: Issuer

    @property
    def headers(self) -> dict[str, str]:
        """Those of a caller who is signed in."""
        return {"Authorization": f"Bearer {self.issuer.token}"} if self.issuer.token else {}


@contextmanager
def gateway_running(place: Path, **answers: object) -> Iterator[Gateway]:
    """Run a gateway before two services, in production; all trust one issuer of tokens.

    Args:
        place: an empty directory.
        answers: other than the usual ones, of all three services.
    """
    template = Template()
    renderer, resolver = Renderer(template), Resolver(template)

    def rendered(name: str, given: Answers) -> Path:
        return renderer.write(renderer.tree(resolver.resolve(given)), place / name)

    usual: Answers = {"database": "sqlite", "redis": False, "auth": "oidc", **answers}
    with ExitStack() as stack:
        front = rendered("gateway", {**usual, "gateway": True})
        issuer = stack.enter_context(token_issuer(front))

        def start(directory: Path, **variables: str) -> Running:
            home = Path(stack.enter_context(TemporaryDirectory(prefix="groundwork-")))
            server = stack.enter_context(database_server(directory, home))
            addresses = new_databases(directory, server)
            python(directory, "-m", "app.core.migrate", **addresses)
            port = free_port()
            full = of_production(PORT=str(port), **addresses, **issuer.variables, **variables)
            process = running([sys.executable, "-m", "app"], directory, port, full)
            return stack.enter_context(process)

        upstreams = {}
        for name in UPSTREAMS:
            directory = rendered(name, usual)
            (directory / "app/api/v1/bulk.py").write_text(ENDPOINTS, "utf-8")
            upstreams[name] = start(directory, MAX_BODY_BYTES=str(LARGEST_BODY))
        table = {
            name: {"url": each.url, "max_body_bytes": LARGEST_BODY, "breaker_rest": 0.5}
            for name, each in upstreams.items()
        }
        server = start(front, GATEWAY_UPSTREAMS=json.dumps(table))
        for each in (*upstreams.values(), server):
            each.wait_until("/ready")
        yield Gateway(server, upstreams, issuer)
