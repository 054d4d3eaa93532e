"""The port by which all code sends mails: `await send(Mail(...))`.

It returns at once; the mail is delivered in the background and off the event loop. A mail that
cannot be delivered is tried again, then logged: whoever caused it is not told. What a mail speaks
of must be stored first: `after_commit(session, partial(send, mail))`.
"""

import asyncio
import smtplib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import stamina
import structlog
from anyio import CapacityLimiter, to_thread

from app.core.mail.delivery import Deliver, Mail

log = structlog.get_logger(logger_name="app.mail")

AT_ONCE = 4
MOST_WAITING = 1000
FINISH_SECONDS = 15.0
"""How long the mails that wait may take when the service stops."""


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
            _, left = await asyncio.wait(self._waiting, timeout=FINISH_SECONDS)
            if left:
                log.error("mails not sent: the service stops", count=len(left))

    async def _send(self, mail: Mail) -> None:
        try:
            async for attempt in stamina.retry_context(on=_may_pass, attempts=4, timeout=60):
                with attempt:
                    await to_thread.run_sync(self._deliver, mail, limiter=self._threads)
        except Exception as error:  # noqa: BLE001 - whatever a mail server says
            log.error("mail not sent", subject=mail.subject, reason=type(error).__name__)  # noqa: TRY400 - the text names the recipient


def _may_pass(error: Exception) -> bool:
    """Whether a later attempt may succeed: the server is away, or says so itself (4yz)."""
    if isinstance(error, smtplib.SMTPResponseException):
        return error.smtp_code < 500
    return isinstance(error, OSError) and not isinstance(
        error, smtplib.SMTPRecipientsRefused | smtplib.SMTPNotSupportedError
    )


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
