"""What must never be read in a log, and that logging itself never fails."""

import io
import json
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvicorn

from app.config import Settings
from app.core.application import create_app
from app.core.logging import clean_text, configure_logging
from tests.core.plugin import with_changes

SECRET = "hunter2"  # noqa: S105


@dataclass
class Person:
    """Somebody with a secret."""

    password: str


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.fixture
def output(settings: Settings) -> io.TextIOWrapper:
    """Where lines go during the test."""
    stream = io.TextIOWrapper(io.BytesIO(), write_through=True)
    configure_logging(with_changes(settings, log_format="json", log_level="INFO"), stream)
    return stream


def line_of(stream: io.TextIOWrapper) -> dict[str, Any]:
    stream.seek(0)
    line: dict[str, Any] = json.loads(stream.read())
    return line


@pytest.mark.parametrize(
    "values",
    [
        {"password": SECRET},
        {"api_key": SECRET},
        {"database_url": SECRET},
        {"headers": {"authorization": f"Bearer {SECRET}"}},
        {"items": [{"deep": {"token": SECRET}}]},
        {"address": f"postgresql://user:{SECRET}@host/name"},
        {"address": f"postgresql://user:p@{SECRET}@host/name"},
        {"address": f"https://{SECRET}@host/name"},
        {"address": f"postgresql://user:p@ss word {SECRET}@host/name"},
        {"address": f"postgresql://user:12 {SECRET}@host/name"},
        {"error": ValueError(f"postgresql://user:{SECRET}@host")},
        {"said": f"could not connect: password={SECRET} host=db"},
        {"said": f"Authorization: Bearer {SECRET}"},
        {"said": f"[('authorization', 'Bearer {SECRET}')]"},
        {"said": f'{{"password": "two words {SECRET}", "a": 1}}'},
        {"said": f"password='half of it {SECRET}'"},
        {"said": f"Cookie: sid={SECRET}"},
        {"said": f"API-Key: {SECRET}, access_key={SECRET} private_key: {SECRET}"},
        {"person": Person(SECRET)},
        {"a": {"b": {"c": {"d": {"e": {"f": {"password": SECRET}}}}}}},
        {"said": f"https://host/path?access_token={SECRET}&x=1"},
    ],
)
def test_secrets_are_redacted(output: io.TextIOWrapper, values: dict[str, object]) -> None:
    structlog.get_logger().info("something", **values)
    assert SECRET not in str(line_of(output))


def test_secrets_of_other_loggers_too(output: io.TextIOWrapper) -> None:
    logging.getLogger("some.library").warning("no way to %s", f"redis://:{SECRET}@host")
    assert SECRET not in str(line_of(output))


def test_lines_of_other_loggers_have_the_same_shape(output: io.TextIOWrapper) -> None:
    logging.getLogger("some.library").warning("said %s", "so")
    line = line_of(output)
    assert line.keys() == {"event", "level", "logger", "timestamp"}
    assert (line["event"], line["level"]) == ("said so", "warning")
    assert line["logger"] == "some.library"


def test_the_level_is_for_other_loggers_too(settings: Settings) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), write_through=True)
    configure_logging(with_changes(settings, log_format="json", log_level="ERROR"), stream)
    logging.getLogger("some.library").warning("not to be read")
    stream.seek(0)
    assert not stream.read()


@pytest.mark.parametrize(
    "name", ["httpx2", "watchfiles.main", "alembic.runtime.plugins", "uvicorn.access"]
)
def test_what_is_said_elsewhere_or_may_be_secret_is_not_said(
    output: io.TextIOWrapper, name: str
) -> None:
    logging.getLogger(name).info("GET https://host/?key=%s", SECRET)
    output.seek(0)
    assert not output.read()


def test_lines_of_the_server_are_taken_over(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make dev` starts uvicorn by its own command, which has set up its loggers by then."""
    uvicorn.Config("app.main:app")
    stream = io.TextIOWrapper(io.BytesIO(), write_through=True)
    configure_logging(with_changes(settings, log_format="json", log_level="INFO"), stream)
    logging.getLogger("uvicorn.error").info("started")
    logging.getLogger("uvicorn.access").info("GET /")
    assert (line_of(stream)["event"], line_of(stream)["logger"]) == ("started", "uvicorn.error")
    assert capsys.readouterr() == ("", "")


def test_what_is_no_secret_stays(output: io.TextIOWrapper) -> None:
    asked = "http://host:8000/a b for ada@example.com"
    structlog.get_logger().info("read", author="Ada", path="/a:b", count=3, asked=asked)
    line = line_of(output)
    assert (line["author"], line["path"], line["count"]) == ("Ada", "/a:b", 3)
    assert line["asked"] == asked


@pytest.mark.parametrize(
    "value", [2**70, {1: 2}, Unprintable(), b"\xff", {"a"}, "half \ud800", float("nan")]
)
def test_any_value_can_be_logged(output: io.TextIOWrapper, value: object) -> None:
    structlog.get_logger().info("odd", value=value)
    assert line_of(output)["event"] == "odd"


def test_a_traceback_is_written_without_secrets(output: io.TextIOWrapper) -> None:
    error = RuntimeError(f"cannot reach postgresql://user:{SECRET}@host/name")
    structlog.get_logger().error("failed", exc_info=error)
    written = line_of(output)["exception"]
    assert written.startswith("RuntimeError: cannot reach")
    assert SECRET not in written


def test_an_application_writes_its_log_whoever_serves_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    create_app(settings)
    (handler,) = root.handlers
    assert isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter)


def test_a_log_that_cannot_be_written_fails_nobody(settings: Settings) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        configure_logging(with_changes(settings, log_format="json"), io.TextIOWrapper(full))
        structlog.get_logger().info("lost")


@pytest.mark.parametrize(
    "shape", ["token", "secret:", "a=", "://", "://a:", "/:", "passw", "x" * 7, "api_key ", " "]
)
def test_cleaning_takes_time_in_proportion(shape: str) -> None:
    """A caller may choose a text of any shape: nothing may be tried again and again."""
    for prefix in ("", "://", "/:", "token="):
        text = prefix + shape * (60_000 // len(shape))
        with time_limit(2):
            clean_text(text)


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Interrupt what would take minutes; a quick run is a thousand times quicker than the limit."""

    def give_up(*_: object) -> None:
        raise AssertionError("a pattern backtracks without end")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
