"""As which role a service connects to its database, of which a service has one."""
