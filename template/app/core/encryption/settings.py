"""Settings of encrypted columns."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, field_validator

from app.core.encryption.master_keys import MasterKeys, development_keys, read_master_keys
from app.core.settings import AppSettings


class EncryptionSettings(AppSettings):
    """Where the master key is."""

    render_master_key_path: Path | None = Field(
        None, description="Secret file with the master key; without one it is made from SECRET_KEY"
    )

    @field_validator("render_master_key_path")
    @classmethod
    def _check_master_keys(cls, value: Path | None) -> Path | None:
        if value is not None:
            read_master_keys(value)
        return value

    @property
    def master_keys(self) -> MasterKeys:
        """Read the master keys.

        Raises:
            ValueError: the secret file was changed since the start and is not right any more.
        """
        if self.render_master_key_path is None:
            return development_keys(self.secret_key.get_secret_value())
        return read_master_keys(self.render_master_key_path)

    def insecure(self) -> Iterator[str]:
        """Name each value that production refuses, with the mend."""
        yield from super().insecure()
        if self.render_master_key_path is None:
            yield (
                "RENDER_MASTER_KEY_PATH must name a secret file with the master key:"
                " openssl rand -base64 32"
            )
