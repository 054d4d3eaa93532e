"""What carries the jobs of this service, and runs them."""

from app.core.jobs.backends.inline import BACKEND as BACKEND
