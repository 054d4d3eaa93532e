"""A real mail server on loopback that keeps what it gets."""

import asyncio
import logging
import queue
from collections import defaultdict
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from socket import create_server
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

WAIT_SECONDS = 60


class Mailbox:
    """Mails by recipient, in the order in which they came.

    Attributes:
        port: where the server listens.
        refusals: what it answers to the next mails instead of taking them.
        refusals_of_recipients: the same, as soon as it hears for whom they are.
    """

    def __init__(self) -> None:
        self.port = 0
        self.refusals: list[str] = []
        self.refusals_of_recipients: list[str] = []
        self._mails: defaultdict[str, queue.Queue[EmailMessage]] = defaultdict(queue.Queue)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd calls it by this name
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Take a recipient (aiosmtpd)."""
        if self.refusals_of_recipients:
            return self.refusals_of_recipients.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd calls it by this name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Take a mail (aiosmtpd)."""
        if self.refusals:
            return self.refusals.pop(0)
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        for recipient in envelope.rcpt_tos:
            self._mails[recipient].put(message_from_bytes(content, policy=policy.default))
        return "250 OK"

    async def next(self, recipient: str) -> EmailMessage:
        """Wait for the next mail to somebody and take it out."""
        return await asyncio.to_thread(self._mails[recipient].get, timeout=WAIT_SECONDS)

    def count(self, recipient: str) -> int:
        """How many mails to somebody are there."""
        return self._mails[recipient].qsize()

    @contextmanager
    def running(self, **options: Any) -> "Iterator[Mailbox]":
        """Listen on a free port; the options are aiosmtpd's."""
        logging.getLogger("mail.log").setLevel(logging.WARNING)  # every line of the protocol
        controller = _Controller(self, **options)
        controller.start()
        self.port = controller.port
        try:
            yield self
        finally:
            controller.stop()


class _Controller(Controller):
    """Listens where the system finds a free port."""

    def __init__(self, handler: Mailbox, **options: Any) -> None:
        super().__init__(handler, hostname="127.0.0.1", **options)
        self.socket = create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def _create_server(self) -> Awaitable[asyncio.AbstractServer]:
        return self.loop.create_server(
            self._factory_invoker, sock=self.socket, ssl=self.ssl_context
        )
