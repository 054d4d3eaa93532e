"""Which addresses are understood, and real servers of each kind behind them."""

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from app.config import Settings
from app.core.redis import link
from app.core.redis.address import parse_address
from tests.core.ports import free_port
from tests.core.redis.conftest import leading_to
from tests.core.redis.servers import Server, own_cluster, own_server


@pytest.mark.parametrize(
    ("text", "kind", "encrypted", "hosts", "database"),
    [
        ("redis://cache", "single", False, [("cache", 6379)], 0),
        ("redis://:p%40ss@[::1]:7000/3", "single", False, [("::1", 7000)], 3),
        ("rediss://user:x@cache:6380/1", "single", True, [("cache", 6380)], 1),
        ("redis://default:x@a.upstash.io:6379", "single", True, [("a.upstash.io", 6379)], 0),
        (
            "redis+sentinel://a,b:7000/mymaster/2",
            "sentinel",
            False,
            [("a", 26379), ("b", 7000)],
            2,
        ),
        ("rediss+cluster://a,b:7000", "cluster", True, [("a", 6379), ("b", 7000)], 0),
    ],
)
def test_addresses(
    text: str, kind: str, encrypted: bool, hosts: list[tuple[str, int]], database: int
) -> None:
    address = parse_address(text)
    assert (address.kind, address.encrypted) == (kind, encrypted)
    assert (list(address.hosts), address.database) == (hosts, database)


def test_an_account_is_read_and_not_shown() -> None:
    address = parse_address("redis+sentinel://ada:hunt%2Fer2@a/set?sentinel_password=hunter3")
    assert (address.username, address.password) == ("ada", "hunt/er2")
    assert address.options == {"sentinel_password": "hunter3"}
    assert "hunter" not in repr(address)
    assert "ada" not in repr(address)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://eu1-cat.upstash.io", "REST API"),
        ("postgresql://host", "must start with"),
        ("hunter2", "must start with"),
        ("redis://", "must name a host"),
        ("redis://host:hunter2", "must name a host"),
        ("redis://host:99999", "must name a host"),
        ("redis://a,b", "several hosts"),
        ("redis://host/hunter2", "number of a database"),
        ("redis://host/0/1", "number of a database"),
        ("redis://host?timeout=9", "unknown part"),
        ("redis+sentinel://host", "must name the set"),
        ("redis+cluster://host/1", "no database but 0"),
    ],
)
def test_what_is_no_address_is_refused_and_not_shown(
    settings: Settings, text: str, said: str
) -> None:
    with pytest.raises(ValidationError, match=said) as refused:
        leading_to(settings, text, "test")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("prefix", ["", "a b", ":a", "a:", "a*"])
def test_what_is_no_prefix_is_refused(settings: Settings, prefix: str) -> None:
    with pytest.raises(ValidationError, match="redis_key_prefix"):
        leading_to(settings, "redis://cache", prefix)


def test_production_refuses_a_password_that_everybody_knows(settings: Settings) -> None:
    def problems(url: str) -> list[str]:
        found = leading_to(settings, url, "test").insecure()
        return [problem for problem in found if "REDIS" in problem]

    assert problems("redis://:development@cache") == [
        "REDIS_URL must not carry a well-known password"
    ]
    assert problems("redis://:dmwWq4zNGpDM@cache") == problems("redis://cache") == []


def test_the_address_of_upstash_counts_when_there_is_no_other(settings: Settings) -> None:
    upstash = leading_to(settings, None, "test", upstash_redis_url="rediss://:x@a.upstash.io")
    assert upstash.redis_address == upstash.upstash_redis_url
    both = leading_to(settings, "redis://cache", "test", upstash_redis_url="redis://other")
    assert both.redis_address == both.redis_url
    assert leading_to(settings, "redis://cache", "test", redis_enabled=False).redis_address is None


async def can_be_used(settings: Settings) -> None:
    async with link.established(settings.model_copy(update={"redis_max_connections": 3})):
        key, other = link.key("{x}"), link.key("{y}")
        await link.ask(lambda redis: redis.set(key, "kept"))
        assert await link.ask(lambda redis: redis.get(key)) == b"kept"
        assert await link.run("return redis.call('get', KEYS[1])", [key], []) == b"kept"

        async with link.client.pipeline(transaction=False) as pipeline:
            pipeline.get(key)
            pipeline.get(other)
            assert await pipeline.execute() == [b"kept", None]
        found = link.client.scan_iter(match=link.key("*"))
        assert [name async for name in found] == [key.encode()]
        assert (await link.probe())["encrypted"] is False

        # More than there are connections: they wait for each other.
        counted = (link.ask(lambda redis: redis.incr(other)) for _ in range(50))
        assert sorted(await asyncio.gather(*counted)) == list(range(1, 51))


def at(url: str, settings: Settings, prefix: str) -> Settings:
    """Settings with any address: Celery's jobs would refuse some, which is no matter here."""
    without = leading_to(settings, None, prefix)
    return without.model_copy(update={"redis_url": SecretStr(url)})


async def test_one_server(on_redis: Settings) -> None:
    await can_be_used(on_redis)


async def test_a_cluster(settings: Settings, tmp_path: Path, prefix: str) -> None:
    with own_cluster(tmp_path) as server:
        url = f"redis+cluster://127.0.0.1:{server.port}"
        await can_be_used(at(url, settings, prefix))


async def test_a_set_that_sentinel_watches(settings: Settings, tmp_path: Path, prefix: str) -> None:
    port = free_port()
    (tmp_path / "sentinel.conf").write_text("sentinel resolve-hostnames yes\n", "utf-8")
    with own_server(tmp_path) as server:
        sentinel = Server(port, tmp_path, ("--sentinel",), "sentinel.conf")
        sentinel.start()
        try:
            sentinel.command("SENTINEL", "MONITOR", "main", "127.0.0.1", str(server.port), "1")
            url = f"redis+sentinel://127.0.0.1:{port}/main/0"
            await can_be_used(at(url, settings, prefix))
        finally:
            sentinel.kill()
