"""The port by which all code sends mails: `await send(Mail(...))`.

It returns at once; the mail is delivered in the background and off the event loop. A mail that
cannot be delivered is tried again for two minutes, then logged: whoever caused it is not told. What
a mail speaks of must be stored first: `after_commit(session, partial(send, mail))`.
"""

import asyncio
import smtplib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import stamina
import structlog
from anyio import CapacityLimiter, to_thread

from app.core.mail.delivery import Deliver, Mail
from app.core.shutdown import left_of

log = structlog.get_logger(logger_name="app.mail")

AT_ONCE = 4
MOST_WAITING = 1000
ATTEMPTS = 9
"""With waits of 1, 2, 4, 8, 16, 30, 30 and 30 s, a server may be away for two minutes."""
LONGEST_WAIT_SECONDS = 30.0
GIVE_UP_SECONDS = 300.0
"""From then on nothing is tried again: each attempt at a server that says nothing takes long."""
FINISH_SECONDS = 15.0
"""How long the mails that wait may take once the server stops, beside its requests."""
LEAST_FINISH_SECONDS = 5.0
"""What they have where the requests have taken longer: theirs are among them."""


class _FailedError(Exception):
    """An attempt, by the name of its error: stamina logs the text, which may name the recipient."""

    def __init__(self, error: Exception) -> None:
        super().__init__(type(error).__name__)
        self.may_pass = _may_pass(error)


class Outbox:
    """Mails on their way."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._threads = CapacityLimiter(AT_ONCE)
        self._waiting: set[asyncio.Task[None]] = set()

    def put(self, mail: Mail) -> None:
        """Deliver a mail in the background."""
        if len(self._waiting) >= MOST_WAITING:
            log.error("mail not sent: too many wait", subject=mail.subject)
            return
        task = asyncio.create_task(self._send(mail))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def finish(self) -> None:
        """Wait until all mails are delivered or given up, but not for ever."""
        if self._waiting:
            seconds = max(LEAST_FINISH_SECONDS, left_of(FINISH_SECONDS))
            _, left = await asyncio.wait(self._waiting, timeout=seconds)
            if left:
                log.error("mails not sent: the service stops", count=len(left))
            for task in left:
                task.cancel()

    async def _send(self, mail: Mail) -> None:
        try:
            async for attempt in stamina.retry_context(
                on=_again,
                attempts=ATTEMPTS,
                timeout=GIVE_UP_SECONDS,
                wait_initial=1.0,
                wait_max=LONGEST_WAIT_SECONDS,
            ):
                with attempt:
                    await self._try(mail)
        except _FailedError as error:
            log.error("mail not sent", subject=mail.subject, reason=str(error))  # noqa: TRY400 - nothing else is known of it

    async def _try(self, mail: Mail) -> None:
        try:
            await to_thread.run_sync(self._deliver, mail, limiter=self._threads)
        except Exception as error:  # noqa: BLE001 - whatever a mail server says
            raise _FailedError(error) from None


def _again(error: Exception) -> bool:
    return isinstance(error, _FailedError) and error.may_pass


def _may_pass(error: Exception) -> bool:
    """Whether a later attempt may succeed: the server is away, or says so itself (4yz)."""
    if isinstance(error, smtplib.SMTPResponseException):
        return error.smtp_code < 500
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(code < 500 for code, _ in error.recipients.values())
    return isinstance(error, OSError) and not isinstance(error, smtplib.SMTPNotSupportedError)


_outbox: Outbox | None = None


@asynccontextmanager
async def sending(deliver: Deliver) -> AsyncIterator[None]:
    """Send mails until the block is left; those on their way are waited for."""
    global _outbox  # noqa: PLW0603 - one port for all code
    before, own = _outbox, Outbox(deliver)
    _outbox = own
    try:
        yield
    finally:
        _outbox = before
        await own.finish()


async def send(mail: Mail) -> None:
    """Deliver a mail in the background; failures are logged.

    Raises:
        RuntimeError: the application does not run.
    """
    if _outbox is None:
        raise RuntimeError("mails are sent outside of the application's lifespan")
    _outbox.put(mail)
