"""Encrypted columns. Import what you use from here."""

from app.core.encryption.column import EncryptedText as EncryptedText
from app.core.encryption.column import watch_models
from app.core.encryption.envelope import DecryptionError as DecryptionError
from app.core.encryption.port import encryption as encryption
from app.core.encryption.values import EncryptedStr as EncryptedStr

watch_models()
