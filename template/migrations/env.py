"""Alembic's entry: hands over to the foundation with this service's models."""

import app.core.registry  # noqa: F401 - its pieces bring tables of their own
from app.core.database.layout import DatabaseSettings
from app.core.database.migrations import run_migrations
from app.core.discovery import import_submodules
from app.core.settings import load_settings

import_submodules("app.models")
run_migrations(load_settings(DatabaseSettings))
