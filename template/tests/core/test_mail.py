"""Mails: they go out behind one's back, and a server that fails harms nobody."""

import asyncio
import io
import smtplib
from collections.abc import Callable, Iterator
from time import monotonic
from types import SimpleNamespace

import pytest
import stamina
import structlog
from fastapi import FastAPI
from pydantic import SecretStr
from stamina import instrumentation

from app.config import Settings
from app.core.application import create_app
from app.core.logging import configure_logging
from app.core.mail import Mail, send
from app.core.mail.delivery import delivery
from app.core.mail.outbox import FINISH_SECONDS, GIVE_UP_SECONDS, Outbox, sending
from app.core.secrets.port import secrets
from app.core.shutdown import Drain
from tests.core.clock import Clock
from tests.core.mailbox import Mailbox
from tests.core.plugin import with_changes
from tests.core.test_secrets import from_store

MAIL = Mail(to="ada@example.com", subject="Grüße", text="Follow https://example.com/#a-token\n")


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox().running() as mailbox:
        yield mailbox


@pytest.fixture
def logged(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Gives what was logged since it was asked last."""
    lines = io.BytesIO()
    configure_logging(settings, io.TextIOWrapper(lines))
    fresh = structlog.get_logger(logger_name="app.mail")
    for module in ("delivery", "outbox"):
        monkeypatch.setattr(f"app.core.mail.{module}.log", fresh)

    def take() -> str:
        text = lines.getvalue().decode()
        lines.truncate(0)
        lines.seek(0)
        return text

    return take


@pytest.fixture
def quick_retries() -> Iterator[None]:
    """Try again without waiting."""
    with stamina.set_testing(True, attempts=4):
        yield


@pytest.fixture
def causes() -> Iterator[list[str]]:
    """Why something was tried again, as stamina tells it."""
    told: list[str] = []
    before = instrumentation.get_on_retry_hooks()
    instrumentation.set_on_retry_hooks([lambda details: told.append(repr(details.caused_by))])
    yield told
    instrumentation.set_on_retry_hooks(before)


def at(settings: Settings, url: str | None) -> Settings:
    return with_changes(settings, smtp_url=url, mail_from="service@example.com")


async def test_a_mail_arrives(settings: Settings, mailbox: Mailbox) -> None:
    async with sending(delivery(at(settings, f"smtp://127.0.0.1:{mailbox.port}"))):
        await send(MAIL)
        arrived = await mailbox.next(MAIL.to)
    assert arrived["Subject"] == MAIL.subject
    assert arrived["From"] == "service@example.com"
    assert arrived["Auto-Submitted"] == "auto-generated"
    assert arrived.get_content().split() == MAIL.text.split()


async def test_an_address_that_is_changed_in_the_store_is_taken(
    settings: Settings, mailbox: Mailbox
) -> None:
    with secrets.given_by(from_store(settings, smtp_url="smtp://127.0.0.1:1")):
        async with sending(delivery(at(settings, "smtp://127.0.0.1:1"))):
            secrets.take_up({"SMTP_URL": SecretStr(f"smtp://127.0.0.1:{mailbox.port}")})
            await send(MAIL)
            await mailbox.next(MAIL.to)


async def test_a_running_service_sends_mails(
    settings: Settings, app: FastAPI, mailbox: Mailbox
) -> None:
    service = create_app(at(settings, f"smtp://127.0.0.1:{mailbox.port}"))
    async with service.router.lifespan_context(service):
        await send(MAIL)
    assert mailbox.count(MAIL.to) == 1


async def test_nobody_waits_for_a_mail(settings: Settings) -> None:
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def deliver(_: Mail) -> None:
        asyncio.run_coroutine_threadsafe(done.wait(), loop).result()

    async with sending(deliver):
        await send(MAIL)  # returns although nothing is delivered yet
        done.set()


async def test_stopping_waits_for_mails_on_their_way(settings: Settings, mailbox: Mailbox) -> None:
    async with sending(delivery(at(settings, f"smtp://127.0.0.1:{mailbox.port}"))):
        for _ in range(20):
            await send(MAIL)
    assert mailbox.count(MAIL.to) == 20


@pytest.fixture
def stopped_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has waited for its requests for as long as they may take."""
    monkeypatch.setattr(Drain, "ended_at", monotonic() - 60)


@pytest.mark.usefixtures("stopped_long_ago")
async def test_mails_of_the_last_requests_are_waited_for(
    settings: Settings, mailbox: Mailbox
) -> None:
    async with sending(delivery(at(settings, f"smtp://127.0.0.1:{mailbox.port}"))):
        await send(MAIL)
    assert mailbox.count(MAIL.to) == 1


@pytest.mark.usefixtures("stopped_long_ago")
async def test_stopping_waits_for_mails_beside_requests(
    monkeypatch: pytest.MonkeyPatch, logged: Callable[[], str]
) -> None:
    monkeypatch.setattr("app.core.mail.outbox.LEAST_FINISH_SECONDS", 0.1)
    tried: list[Mail] = []

    def deliver(mail: Mail) -> None:
        tried.append(mail)
        raise ConnectionRefusedError

    outbox = Outbox(deliver)
    outbox.put(MAIL)
    async with asyncio.timeout(FINISH_SECONDS / 2):
        await outbox.finish()
    assert tried == [MAIL]
    assert "the service stops" in logged()


@pytest.mark.usefixtures("quick_retries")
async def test_a_server_that_says_later_is_asked_again(
    settings: Settings, mailbox: Mailbox
) -> None:
    mailbox.refusals = ["451 Try again later"] * 2
    async with sending(delivery(at(settings, f"smtp://127.0.0.1:{mailbox.port}"))):
        await send(MAIL)
    assert mailbox.count(MAIL.to) == 1


@pytest.mark.usefixtures("quick_retries")
async def test_a_mail_that_is_refused_is_given_up(settings: Settings, mailbox: Mailbox) -> None:
    mailbox.refusals = ["554 No", "250 OK"]
    async with sending(delivery(at(settings, f"smtp://127.0.0.1:{mailbox.port}"))):
        await send(MAIL)
    assert len(mailbox.refusals) == 1


@pytest.mark.usefixtures("quick_retries")
async def test_a_recipient_who_is_refused_for_now_is_tried_again(
    settings: Settings, mailbox: Mailbox, causes: list[str]
) -> None:
    mailbox.refusals_of_recipients = [f"450 4.2.0 <{MAIL.to}>: Greylisted"]
    async with sending(delivery(at(settings, f"smtp://127.0.0.1:{mailbox.port}"))):
        await send(MAIL)
    assert mailbox.count(MAIL.to) == 1
    assert causes
    assert MAIL.to not in str(causes)  # stamina logs them


@pytest.mark.usefixtures("quick_retries")
async def test_a_recipient_who_is_refused_for_ever_is_not_tried_again(
    settings: Settings, mailbox: Mailbox
) -> None:
    mailbox.refusals_of_recipients = ["550 No such user", "250 OK"]
    async with sending(delivery(at(settings, f"smtp://127.0.0.1:{mailbox.port}"))):
        await send(MAIL)
    assert len(mailbox.refusals_of_recipients) == 1


@pytest.mark.parametrize(("seconds", "arrives"), [(120, True), (3600, False)])
async def test_a_server_may_be_away_for_two_minutes(
    monkeypatch: pytest.MonkeyPatch, seconds: float, *, arrives: bool
) -> None:
    clock, delivered, sleep = Clock(), list[Mail](), asyncio.sleep
    begun = clock()

    async def pass_by(waited: float) -> None:
        clock.now += waited
        await sleep(0)

    def deliver(mail: Mail) -> None:
        if clock() < begun + seconds:
            raise ConnectionRefusedError
        delivered.append(mail)

    monkeypatch.setattr("tenacity.time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr(asyncio, "sleep", pass_by)
    async with sending(deliver):
        await send(MAIL)
    assert delivered == ([MAIL] if arrives else [])
    assert clock() < begun + GIVE_UP_SECONDS


@pytest.mark.usefixtures("quick_retries")
async def test_a_failure_is_logged_and_not_told(
    settings: Settings, mailbox: Mailbox, logged: Callable[[], str]
) -> None:
    mailbox.refusals = ["554 No"]
    async with sending(delivery(at(settings, f"smtp://127.0.0.1:{mailbox.port}"))):
        await send(MAIL)
    said = logged()
    assert "mail not sent" in said
    assert MAIL.to not in said
    assert "a-token" not in said


async def test_too_many_mails_are_not_kept(
    monkeypatch: pytest.MonkeyPatch, logged: Callable[[], str]
) -> None:
    monkeypatch.setattr("app.core.mail.outbox.MOST_WAITING", 1)
    delivered: list[Mail] = []
    outbox = Outbox(delivered.append)
    outbox.put(MAIL)
    outbox.put(MAIL)
    await outbox.finish()
    assert delivered == [MAIL]
    assert "too many wait" in logged()
    outbox.put(MAIL)  # the first one waits no longer
    await outbox.finish()
    assert delivered == [MAIL, MAIL]


async def test_without_the_application_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.core.mail.outbox._outbox", None)
    with pytest.raises(RuntimeError, match="lifespan"):
        await send(MAIL)


def test_without_a_server_developers_find_the_links_in_the_log(
    settings: Settings, logged: Callable[[], str]
) -> None:
    delivery(with_changes(at(settings, None), environment="development"))(MAIL)
    assert "https://example.com/#a-token" in logged()
    delivery(with_changes(at(settings, None), environment="staging"))(MAIL)
    said = logged()
    assert "SMTP_URL is not set" in said
    assert "a-token" not in said


def test_a_mail_does_not_show_its_text() -> None:
    assert "a-token" not in repr(MAIL)


@pytest.mark.parametrize("to", ["ada@example.com\nBcc: eve@example.com", "a\r\nb@example.com"])
def test_no_header_is_smuggled_in(settings: Settings, mailbox: Mailbox, to: str) -> None:
    deliver = delivery(at(settings, f"smtp://127.0.0.1:{mailbox.port}"))
    with pytest.raises(ValueError, match=r"linefeed|newline"):
        deliver(Mail(to, "s", "t"))


@pytest.mark.parametrize("url", ["http://host", "smtp://", "smtp://host:0", "smtp://u:p@h:x"])
def test_what_is_no_mail_server_is_refused(settings: Settings, url: str) -> None:
    with pytest.raises(ValueError, match="must be an address such as"):
        at(settings, url)


@pytest.mark.parametrize("sender", ["nobody", "a b@example.com", "a@example.com\r\nBcc: b@c"])
def test_what_is_no_sender_is_refused(settings: Settings, sender: str) -> None:
    with pytest.raises(ValueError, match="must be an e-mail address"):
        with_changes(settings, mail_from=sender)


def test_a_password_is_not_sent_to_a_server_without_tls(
    settings: Settings, mailbox: Mailbox
) -> None:
    deliver = delivery(at(settings, f"smtp://user:pass@127.0.0.1:{mailbox.port}"))
    with pytest.raises(smtplib.SMTPNotSupportedError):
        deliver(MAIL)
    assert mailbox.count(MAIL.to) == 0
