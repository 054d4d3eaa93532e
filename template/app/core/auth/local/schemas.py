"""Bodies of the sign-in endpoints."""

import re
import uuid
from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
)

from app.core.auth.local import refresh_tokens
from app.core.auth.local.models import LONGEST_EMAIL
from app.core.auth.local.passwords import LONGEST
from app.core.auth.local.realms.realm import Named
from app.core.schemas import RequestSchema, ResponseSchema

# What mail servers everywhere deliver. Names with other than ASCII letters are left out on purpose:
# two that look alike, or that a database takes for the same, must not be two accounts.
_EMAIL = re.compile(
    r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]"
)
_LONGEST_LOCAL_PART = 64


def normalise_email(value: str) -> str:
    """Give the one spelling of an e-mail address.

    Raises:
        ValueError: it is none.
    """
    email = value.strip().lower()
    if not _EMAIL.fullmatch(email) or email.index("@") > _LONGEST_LOCAL_PART:
        raise ValueError("must be an e-mail address such as ada@example.com")
    return email


def _encodable(value: SecretStr) -> SecretStr:
    value.get_secret_value().encode()
    return value


def _one_line(value: str) -> str:
    if not value.isprintable() or "://" in value:
        raise ValueError("must be a name in one line, without addresses of pages")
    return value


Email = Annotated[str, Field(max_length=LONGEST_EMAIL), AfterValidator(normalise_email)]
Password = Annotated[SecretStr, Field(min_length=1, max_length=LONGEST), AfterValidator(_encodable)]
Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(_one_line),
]
"""A name that mails repeat."""
MailedToken = Annotated[SecretStr, Field(min_length=1, max_length=128), AfterValidator(_encodable)]
RefreshText = Annotated[
    SecretStr,
    Field(min_length=1, max_length=refresh_tokens.LONGEST),
    AfterValidator(_encodable),
]


class Body(RequestSchema):
    """Base of these bodies: blanks around a password belong to it."""

    model_config = ConfigDict(str_strip_whitespace=False, hide_input_in_errors=True)


class Login(Named, Body):
    """Who signs in."""

    email: Email
    password: Password


class Forgotten(Named):
    """Whose password is forgotten."""

    email: Email


class Verification(Body):
    """What the mail brought, and what only whoever has registered knows."""

    token: MailedToken
    password: Password


class Confirmation(Body):
    """What the mail brought."""

    token: MailedToken


class PasswordReset(Body):
    """A new password, and what the mail brought."""

    token: MailedToken
    password: Password


class PasswordChange(Body):
    """A new password, and the present one."""

    current_password: Password
    new_password: Password


class EmailChange(Body):
    """A new e-mail address, and the present password."""

    new_email: Email
    current_password: Password


class Refresh(Body):
    """A refresh token."""

    refresh_token: RefreshText


class Accepted(BaseModel):
    """It is being done, if it can be done; a mail tells more."""

    detail: str


class Tokens(ResponseSchema):
    """A pair of tokens (RFC 6749, 5.1)."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105
    expires_in: int = Field(description="Seconds for which the access token is valid")
    refresh_token: str


class SessionRead(ResponseSchema):
    """A session: one sign-in, on one device."""

    id: uuid.UUID
    created_at: datetime
    refreshed_at: datetime
    expires_at: datetime
    address: str
    user_agent: str
    current: bool = Field(False, description="Whether the caller's token belongs to it")


class SessionList(BaseModel):
    """Sessions, the last used first."""

    items: list[SessionRead]


class KeySet(BaseModel):
    """Public keys (RFC 7517)."""

    keys: list[dict[str, str]]
