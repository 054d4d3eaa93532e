"""Run jobs: `python -m app.worker`, any number of times."""

from app.config import Settings
from app.core.jobs.worker import work
from app.core.settings import load_settings

if __name__ == "__main__":
    work(load_settings(Settings))
