"""To what users belong: to the service, or each to a tenant of it. A service has one of the two."""
