"""Whose a key is: of a tenant, where there are tenants."""
