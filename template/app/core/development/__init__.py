"""Development and tests without Docker: a real database server from a package."""
