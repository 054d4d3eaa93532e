"""Where mails go."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from app.core.settings import AppSettings

_ADDRESS = re.compile(r"[!-~]+@[!-~]+")


def _check_smtp_url(value: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(value.get_secret_value())
        complete = parts.scheme in ("smtp", "smtps") and parts.hostname and parts.port != 0
    except ValueError:  # the port is no number, and the text may hold a password
        complete = False
    if not complete:
        raise ValueError("must be an address such as smtp://user:password@host:587 or smtps://host")
    return value


def _check_sender(value: str) -> str:
    if not _ADDRESS.fullmatch(value):
        raise ValueError("must be an e-mail address such as service@example.com")
    return value


class MailSettings(AppSettings):
    """How mails are sent."""

    smtp_url: Annotated[SecretStr, AfterValidator(_check_smtp_url)] | None = Field(
        None,
        description="Mail server, smtp://user:password@host:587 or smtps://user:password@host;"
        " without one, mails are written to the log in development",
    )
    mail_from: Annotated[str, AfterValidator(_check_sender)] = Field(
        "service@localhost", description="Sender of all mails"
    )
