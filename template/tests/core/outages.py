"""Ways to take the database away from a running service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from sqlalchemy import URL, make_url

from tests.core.ports import free_port


class Line(Protocol):
    """What stands between the service and its database."""

    @property
    def url(self) -> str:
        """The address of the database on this line."""

    async def cut(self) -> None:
        """Take the database away, also from those who are connected."""

    async def mend(self) -> None:
        """Bring it back."""


@asynccontextmanager
async def line_to(url: str) -> AsyncIterator[Line]:
    """Stand between the service and its database, whatever kind it is."""
    target = make_url(url)
    if target.drivername.startswith("sqlite"):
        with TemporaryDirectory() as home:
            yield FileLine(Path(home))
        return
    relay = Relay(target)
    await relay.mend()
    yield relay
    await relay.cut()


class FileLine:
    """SQLite: the directory of the database's file is not there for a while."""

    def __init__(self, home: Path) -> None:
        self.directory = home / "there"
        self.directory.mkdir()
        self.url = f"sqlite:///{self.directory / 'a.db'}"

    async def cut(self) -> None:
        """Rename the directory."""
        self.directory.rename(self._away)

    async def mend(self) -> None:
        """Rename it back."""
        self._away.rename(self.directory)

    @property
    def _away(self) -> Path:
        return self.directory.with_suffix(".away")


class Relay:
    """A server: a relay on loopback that hangs up and refuses new connections."""

    def __init__(self, target: URL) -> None:
        self.target = target
        self.port = free_port()
        self.server: asyncio.Server | None = None
        self.open: set[asyncio.StreamWriter] = set()
        self.flowing = asyncio.Event()
        self.flowing.set()

    @property
    def url(self) -> str:
        """The address of the database by way of the relay."""
        query = {name: value for name, value in self.target.query.items() if name != "unix_socket"}
        query.pop("host", None)
        url = self.target.set(host="127.0.0.1", port=self.port, query=query)
        return url.render_as_string(hide_password=False)

    async def mend(self) -> None:
        """Listen, also after a cut."""
        self.server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Stop listening and hang up on everybody."""
        self.flowing.set()
        if self.server is not None:
            self.server.close()
        for writer in self.open:
            writer.transport.abort()
        self.open.clear()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await self._connect()
        self.open |= {writer, upstream}
        await asyncio.gather(self._copy(reader, upstream), self._copy(upstream_reader, writer))

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        query = self.target.query
        socket = query.get("unix_socket")
        if socket is None and "host" in query:
            socket = f"{query['host']}/.s.PGSQL.{query.get('port', 5432)}"
        if isinstance(socket, str):
            return await asyncio.open_unix_connection(socket)
        default = 5432 if self.target.drivername.startswith("postgres") else 3306
        return await asyncio.open_connection(self.target.host, self.target.port or default)

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                await self.flowing.wait()
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            return
        finally:
            sink.close()
