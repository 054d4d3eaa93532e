"""What does not answer is not asked again and again."""

import asyncio
from typing import NoReturn

import pytest

from app.core.breaker import Breaker, BreakerOpenError, State
from tests.core.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("upstream", failures=3, rest=10, counted=(ConnectionError,), clock=clock)


def state_of(breaker: Breaker) -> State:
    """Ask anew: a type checker takes the property for what it was when it was asked before."""
    return breaker.state


def fail(breaker: Breaker, error: Exception | None = None) -> None:
    with pytest.raises(type(error) if error else ConnectionError), breaker.attempt():
        raise error or ConnectionError


def open_it(breaker: Breaker) -> None:
    for _ in range(3):
        fail(breaker)
    assert state_of(breaker) is State.OPEN


def test_so_many_failures_in_a_row_open_it(breaker: Breaker) -> None:
    fail(breaker)
    fail(breaker)
    with breaker.attempt():
        pass
    fail(breaker)
    fail(breaker)
    assert state_of(breaker) is State.CLOSED
    fail(breaker)
    assert state_of(breaker) is State.OPEN
    with pytest.raises(BreakerOpenError, match="upstream") as caught, breaker.attempt():
        pytest.fail("the attempt was made")
    assert caught.value.retry_after == 10


def test_an_answer_that_is_an_error_is_an_answer(breaker: Breaker) -> None:
    for _ in range(5):
        fail(breaker, ValueError())
    assert state_of(breaker) is State.CLOSED


def test_what_says_nothing_neither_closes_nor_opens_it(clock: Clock) -> None:
    breaker = Breaker("upstream", failures=2, silent=(KeyError,), clock=clock)
    fail(breaker)
    for _ in range(2):
        fail(breaker, KeyError())
    assert (state_of(breaker), breaker.failures_in_a_row) == (State.CLOSED, 1)
    fail(breaker)
    clock.now += 10
    fail(breaker, KeyError())
    assert state_of(breaker) is State.HALF_OPEN


def test_one_probe_passes_and_closes_it(breaker: Breaker, clock: Clock) -> None:
    open_it(breaker)
    clock.now += 10
    assert state_of(breaker) is State.HALF_OPEN
    with breaker.attempt(), pytest.raises(BreakerOpenError), breaker.attempt():
        pytest.fail("a second probe")
    assert state_of(breaker) is State.CLOSED
    fail(breaker)
    assert state_of(breaker) is State.CLOSED


def test_a_failed_probe_opens_it_anew(breaker: Breaker, clock: Clock) -> None:
    open_it(breaker)
    clock.now += 10
    fail(breaker)
    assert state_of(breaker) is State.OPEN
    clock.now += 10
    assert state_of(breaker) is State.HALF_OPEN


def test_a_cancelled_probe_makes_room_for_the_next(breaker: Breaker, clock: Clock) -> None:
    open_it(breaker)
    clock.now += 10
    with pytest.raises(asyncio.CancelledError), breaker.attempt():
        raise asyncio.CancelledError
    assert state_of(breaker) is State.HALF_OPEN


def test_an_attempt_from_before_does_not_close_it(breaker: Breaker) -> None:
    with breaker.attempt():
        open_it(breaker)
    assert state_of(breaker) is State.OPEN


def test_a_probe_that_takes_long_does_not_keep_the_next_out(breaker: Breaker, clock: Clock) -> None:
    open_it(breaker)
    clock.now += 10

    def overtaken() -> NoReturn:
        assert state_of(breaker) is State.OPEN
        clock.now += 10
        with breaker.attempt():
            assert state_of(breaker) is State.OPEN
        assert state_of(breaker) is State.CLOSED
        raise ConnectionError

    with pytest.raises(ConnectionError), breaker.attempt():
        overtaken()
    assert (state_of(breaker), breaker.failures_in_a_row) == (State.CLOSED, 1)
