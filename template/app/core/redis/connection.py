"""The client of redis-py that goes with an address.

Written for redis-py 5.3 and 8: arq, one of the libraries for jobs, holds redis-py below 6. The two
are typed differently, therefore `Any`.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from redis.asyncio import (
    BlockingConnectionPool,
    Connection,
    Redis,
    RedisCluster,
    Sentinel,
    SSLConnection,
)
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostError

from app.core.redis.address import Address

Client = Any
"""`redis.asyncio.Redis` or `redis.asyncio.RedisCluster`: both have the same commands."""


class _Cluster(RedisCluster):
    """A cluster: that a connection was lost is said as it is of one server."""

    async def execute_command(self, *words: Any, **options: Any) -> Any:
        """Ask it.

        One that fails closes the connections to all nodes, also those that another one opens.
        """
        try:
            return await super().execute_command(*words, **options)
        except AttributeError as error:
            raise LostError("the connection was closed meanwhile") from error


@asynccontextmanager
async def connected(
    address: Address, *, patience: float, max_connections: int
) -> AsyncIterator[Client]:
    """Hold a client; connections are made when they are needed.

    Args:
        address: where Redis is.
        patience: seconds to wait for a connection, and for each answer.
        max_connections: kept open at most; for a cluster, to each of its nodes.
    """
    async with AsyncExitStack() as stack:
        options = _options(address, patience) | {"max_connections": max_connections}
        if address.kind == "cluster":
            nodes = [ClusterNode(host, port) for host, port in address.hosts]
            cluster: Client = _Cluster(startup_nodes=nodes, **options)
            stack.push_async_callback(cluster.aclose)
            yield cluster
        elif address.kind == "sentinel":
            yield _watched(address, options, patience, stack)
        else:
            yield _single(address, options, patience, stack)


def _options(address: Address, patience: float) -> dict[str, Any]:
    options: dict[str, Any] = {
        "username": address.username,
        "password": address.password,
        "socket_timeout": patience,
        "socket_connect_timeout": patience,
        "socket_keepalive": True,
        "protocol": 2,
        # Once more on another connection when one was lost; who does not answer is not asked again.
        "retry": Retry(NoBackoff(), 1, supported_errors=(LostError,)),
    }
    return options | ({"ssl": True, "ssl_check_hostname": True} if address.encrypted else {})


def _single(
    address: Address, options: dict[str, Any], patience: float, stack: AsyncExitStack
) -> Client:
    [(host, port)] = address.hosts
    # Among the options, since redis-py 5 has whole seconds in its types, though not when it runs.
    options = {**options, "timeout": patience}
    pool = BlockingConnectionPool(
        connection_class=SSLConnection if options.pop("ssl", False) else Connection,
        host=host,
        port=port,
        db=address.database,
        **options,
    )
    client: Client = Redis.from_pool(pool)
    stack.push_async_callback(client.aclose)
    return client


def _watched(
    address: Address, options: dict[str, Any], patience: float, stack: AsyncExitStack
) -> Client:
    account = {
        "username": address.options.get("sentinel_username"),
        "password": address.options.get("sentinel_password"),
    }
    own = _options(address, patience) | account
    make: Any = Sentinel
    sentinel = make(list(address.hosts), sentinel_kwargs=own)
    for each in sentinel.sentinels:
        stack.push_async_callback(each.aclose)
    client: Client = sentinel.master_for(address.service, db=address.database, **options)
    stack.push_async_callback(client.aclose)
    return client
