"""Mails. Import what you use from here."""

from app.core.mail.delivery import Mail as Mail
from app.core.mail.outbox import send as send
