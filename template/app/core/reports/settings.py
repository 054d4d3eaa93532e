"""Where failures are reported to."""

from pydantic import Field, SecretStr, field_validator

from app.core.settings import AppSettings


class ReportSettings(AppSettings):
    """Where failures are reported to."""

    sentry_dsn: SecretStr | None = Field(
        None, description="Project of Sentry that unexpected failures are reported to; none: nobody"
    )

    @field_validator("sentry_dsn")
    @classmethod
    def _check_dsn(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        from sentry_sdk.utils import Dsn  # noqa: PLC0415 - loads sentry_sdk

        try:
            Dsn(value.get_secret_value())
        except ValueError:
            raise ValueError("must be an address such as https://KEY@HOST/PROJECT") from None
        return value
