"""Where Redis is: one server, a set that Sentinel watches, or a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

Kind = Literal["single", "sentinel", "cluster"]

SCHEMES: Mapping[str, tuple[Kind, bool]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
"""What an address may begin with: the kind, and whether the way there is encrypted."""

DEFAULT_PORTS: Mapping[Kind, int] = {"single": 6379, "sentinel": 26379, "cluster": 6379}
UPSTASH = ".upstash.io"
_OPTIONS = {"sentinel_username", "sentinel_password"}


@dataclass(frozen=True, slots=True)
class Address:
    """An address that was understood; printing it tells no password.

    Attributes:
        kind: what answers there.
        encrypted: whether by TLS.
        hosts: host and port of the server, of the sentinels, or of some nodes of the cluster.
        service: the name under which the sentinels know the set.
        options: further account data, for the sentinels themselves.
    """

    kind: Kind
    encrypted: bool
    hosts: tuple[tuple[str, int], ...]
    database: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    service: str = ""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)


def parse_address(text: str) -> Address:
    """Read `redis://`, `rediss://`, `redis+sentinel://HOST,HOST/NAME/0` or `redis+cluster://`.

    Servers of Upstash take nothing but TLS, so theirs is encrypted however it is written.

    Raises:
        ValueError: it is no such address; the message does not show it.
    """
    parts = urlsplit(text)
    if parts.scheme in {"http", "https"}:
        raise ValueError("is the address of a REST API: take the one that starts with rediss://")
    if parts.scheme not in SCHEMES:
        raise ValueError(f"must start with {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
    kind, encrypted = SCHEMES[parts.scheme]
    account, _, places = parts.netloc.rpartition("@")
    username, has_password, password = account.partition(":")
    options = dict(parse_qsl(parts.query))
    if parts.fragment or (unknown := options.keys() - (_OPTIONS if kind == "sentinel" else set())):
        raise ValueError(f"has an unknown part: {', '.join(sorted(unknown)) or 'a fragment'}")
    hosts = tuple(_host(place, DEFAULT_PORTS[kind]) for place in places.split(","))
    if kind == "single" and len(hosts) > 1:
        raise ValueError("names several hosts: redis+cluster:// or redis+sentinel://")
    service, database = _path(parts.path, kind)
    return Address(
        kind=kind,
        encrypted=encrypted or hosts[0][0].endswith(UPSTASH),
        hosts=hosts,
        database=database,
        username=unquote(username) or None,
        password=unquote(password) if has_password else None,
        service=service,
        options=options,
    )


def _host(place: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{place}")
        name, port = parts.hostname, parts.port
    except ValueError:
        name, port = None, None
    if not name:
        raise ValueError("must name a host, such as redis://localhost:6379/0")
    return name, port or default_port


def _path(path: str, kind: Kind) -> tuple[str, int]:
    names = [unquote(name) for name in path.split("/") if name]
    service = names.pop(0) if kind == "sentinel" and names else ""
    if kind == "sentinel" and not service:
        raise ValueError("must name the set: redis+sentinel://host:26379,host:26379/mymaster")
    number = names.pop(0) if names else "0"
    if names or not number.isdecimal():
        raise ValueError("must end with the number of a database, such as /0")
    if kind == "cluster" and int(number):
        raise ValueError("is that of a cluster, which has no database but 0")
    return service, int(number)
