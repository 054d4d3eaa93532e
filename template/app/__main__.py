"""Serve the application for production: `python -m app`."""

from app.config import Settings
from app.core.server import serve
from app.core.settings import load_settings

if __name__ == "__main__":
    serve("app.main:app", load_settings(Settings))
