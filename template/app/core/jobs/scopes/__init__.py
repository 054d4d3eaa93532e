"""Whose jobs they are."""


class OwnerGoneError(Exception):
    """Whoever the job belongs to is not there any more."""
