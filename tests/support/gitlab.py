"""What the jobs of a GitLab pipeline come to."""

from collections.abc import Mapping
from typing import Any


def resolved(name: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Give a job with all that it extends."""
    job: dict[str, Any] = {}
    for parent in parents(document[name]):
        job |= resolved(parent, document) if parent in document else {}
    merged = {**job, **document[name]}
    return merged | {"variables": {**job.get("variables", {}), **merged.get("variables", {})}}


def parents(job: Mapping[str, Any]) -> list[str]:
    """Give what a job extends: one, several or none."""
    extended = job.get("extends", [])
    return [extended] if isinstance(extended, str) else extended
