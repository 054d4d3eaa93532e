"""How one mail is delivered: by SMTP, or to the log. This blocks, so it runs in a thread."""

import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import SplitResult, unquote, urlsplit

import structlog
from pydantic import SecretStr

from app.core.mail.settings import MailSettings
from app.core.secrets.port import secrets

log = structlog.get_logger(logger_name="app.mail")

TIMEOUT_SECONDS = 10.0
_SHOWN_IN = ("development", "test")


@dataclass(frozen=True, slots=True)
class Mail:
    """A plain mail.

    Attributes:
        to: one e-mail address.
        subject: one line.
        text: the body; it may contain secrets, so it is never printed.
    """

    to: str
    subject: str
    text: str

    def __repr__(self) -> str:
        return f"Mail({self.subject!r})"


Deliver = Callable[[Mail], None]


def delivery(settings: MailSettings) -> Deliver:
    """Choose how mails are delivered."""
    if settings.smtp_url is None:
        return _Log(settings)
    return _Smtp(settings.smtp_url, settings.mail_from)


class _Log:
    """Writes mails to the log, where developers find the links in them."""

    def __init__(self, settings: MailSettings) -> None:
        self.shows_text = settings.environment in _SHOWN_IN

    def __call__(self, mail: Mail) -> None:
        if self.shows_text:
            log.info("mail", to=mail.to, subject=mail.subject, text=mail.text)
        else:
            log.warning("mail not sent: SMTP_URL is not set", subject=mail.subject)


class _Smtp:
    """Hands mails to a mail server, with TLS wherever a password or the server asks for it."""

    def __init__(self, address: SecretStr, sender: str) -> None:
        self.address = address
        self._seen = _said()
        self.sender = sender
        self.own_name = sender.rpartition("@")[2]

    def __call__(self, mail: Mail) -> None:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self.sender, mail.to, mail.subject
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=self.own_name)
        message["Auto-Submitted"] = "auto-generated"  # nobody's holiday note answers it (RFC 3834)
        message.set_content(mail.text)
        with self._connected() as connection:
            connection.send_message(message)

    def _newest(self) -> SplitResult:
        """The address as it is now: a store may have got another password."""
        if (said := _said()) not in (None, self._seen):
            self._seen = self.address = said
        return urlsplit(self.address.get_secret_value())

    def _connected(self) -> smtplib.SMTP:
        server = self._newest()
        host, port = server.hostname or "", server.port or 0
        # The name is given because smtplib would ask the DNS for one.
        name, wait = self.own_name, TIMEOUT_SECONDS
        if server.scheme == "smtps":
            secure = ssl.create_default_context()
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                host, port, local_hostname=name, timeout=wait, context=secure
            )
        else:
            connection = smtplib.SMTP(host, port, local_hostname=name, timeout=wait)
        try:
            _greet(connection, server)
        except BaseException:
            connection.close()
            raise
        return connection


def _said() -> SecretStr | None:
    return secrets.current("SMTP_URL") if secrets.started else None


def _greet(connection: smtplib.SMTP, server: SplitResult) -> None:
    user, password = server.username, server.password
    connection.ehlo()
    if server.scheme == "smtp" and (user or connection.has_extn("starttls")):
        # With a password it must be there: otherwise this raises, and nothing is sent.
        connection.starttls(context=ssl.create_default_context())
        connection.ehlo()
    if user:
        connection.login(unquote(user), unquote(password or ""))
