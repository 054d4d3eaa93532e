"""Tenants in one schema that cannot see each other. Import what you use from here."""

from app.core.tenancy.mixins.mixin import TenantMixin as TenantMixin
from app.core.tenancy.net import watch_sessions
from app.core.tenancy.scope import across_tenants as across_tenants
from app.core.tenancy.scope import as_tenant as as_tenant
from app.core.tenancy.scope import current_tenant as current_tenant

watch_sessions()
