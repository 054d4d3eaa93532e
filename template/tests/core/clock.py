"""A clock that tests move."""


class Clock:
    """Seconds of a clock that goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Read it."""
        return self.now
