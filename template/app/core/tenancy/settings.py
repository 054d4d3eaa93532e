"""Settings of tenancy."""

from pydantic import Field

from app.core.settings import AppSettings


class TenancySettings(AppSettings):
    """How tenants come into being."""

    tenant_auto_create: bool = Field(
        True, description="Make a tenant when a token names one that is not known yet"
    )
