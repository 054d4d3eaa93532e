"""Fixtures of this service's tests; the foundation's are in tests/core/plugin.py."""

pytest_plugins = ["tests.core.plugin"]
