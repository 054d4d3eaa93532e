"""No key of the cache and no lock is ever another tenant's."""

from uuid import uuid4

import pytest

from app.core.cache import LockTakenError, cache, cached, lock
from app.core.tenancy import across_tenants, as_tenant

ONE, ANOTHER = uuid4(), uuid4()


@pytest.mark.usefixtures("rolled_back")
async def test_a_key_is_the_tenant_s() -> None:
    with as_tenant(ONE):
        await cache.set("key", "secret", seconds=60, tags=["tag"])
        await cache.increment("n", seconds=60)
    for scope in (as_tenant(ANOTHER), across_tenants("a test")):
        with scope:
            assert await cache.get("key") is None
            assert await cache.increment("n", seconds=60) == 1
            await cache.delete("key")
            await cache.invalidate("tag")
            await cache.set("key", "mine", seconds=60)
    assert await cache.get("key") is None
    with as_tenant(ONE):
        assert await cache.get("key") == "secret"


@pytest.mark.usefixtures("rolled_back")
async def test_a_cached_function_answers_each_tenant_for_itself() -> None:
    answers = iter(("one's", "another's", "everybody's"))

    async def find() -> str:
        return next(answers)

    mine, everybody_s = cached(seconds=60)(find), cached(seconds=60, shared=True)(find)
    for _ in range(2):
        with as_tenant(ONE):
            assert await mine() == "one's"
        with as_tenant(ANOTHER):
            assert await mine() == "another's"
    for tenant in (ONE, ANOTHER):
        with as_tenant(tenant):
            assert await everybody_s() == "everybody's"


@pytest.mark.usefixtures("rolled_back")
async def test_a_lock_is_the_tenant_s() -> None:
    with as_tenant(ONE):
        async with lock("report"), lock("all", shared=True):
            with as_tenant(ANOTHER):
                async with lock("report"):
                    pass
                with pytest.raises(LockTakenError):
                    async with lock("all", shared=True):
                        pytest.fail("two owners")
