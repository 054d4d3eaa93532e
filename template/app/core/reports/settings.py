"""Where failures are reported to."""

from pydantic import Field, SecretStr, field_validator
from sentry_sdk.utils import BadDsn, Dsn

from app.core.settings import AppSettings


class ReportSettings(AppSettings):
    """Where failures are reported to."""

    sentry_dsn: SecretStr | None = Field(
        None, description="Project of Sentry that unexpected failures are reported to; none: nobody"
    )

    @field_validator("sentry_dsn")
    @classmethod
    def _check_dsn(cls, value: SecretStr | None) -> SecretStr | None:
        try:
            Dsn(value.get_secret_value() if value else "https://key@sentry.example.com/1")
        except (BadDsn, ValueError):
            raise ValueError("must be an address such as https://KEY@HOST/PROJECT") from None
        return value
