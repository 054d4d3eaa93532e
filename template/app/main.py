"""The application: `uvicorn app.main:app`, or with the production options `python -m app`."""

from fastapi import FastAPI

from app.config import Settings
from app.core.application import create_app
from app.core.discovery import discover_routers
from app.core.settings import load_settings


def build(settings: Settings) -> FastAPI:
    """Put the service together: foundation, settings and every router below `app/api/v1`."""
    return create_app(settings, routers=discover_routers("app.api.v1"))


app = build(load_settings(Settings))
