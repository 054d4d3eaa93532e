"""Alembic's entry: hands over to the foundation with this service's models."""

from app.core.database.migrations import run_migrations
from app.core.discovery import import_submodules
from app.core.registry import MigrationSettings
from app.core.settings import load_settings

import_submodules("app.models")
run_migrations(load_settings(MigrationSettings))
