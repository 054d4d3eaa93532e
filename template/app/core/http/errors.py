"""How a call to another service may end, and what our own caller is told of it.

None of the texts holds an address or anything that the other service has said.
"""

from httpx2 import Response

from app.core.errors import (
    DeadlineExceededError,
    ExternalServiceError,
    ServiceUnavailableError,
)


class UpstreamError(ExternalServiceError):
    """A call to another service was of no use (502); base of all others.

    Attributes:
        upstream: which service.
        passing: whether the same call may go well a moment later.
        wait: seconds after which the service wants to be asked again, when it says so.
    """

    passing = False

    def __init__(self, upstream: str, said: str, *, wait: float | None = None) -> None:
        super().__init__(f"{upstream} {said}", upstream=upstream)
        self.upstream = upstream
        self.wait = wait


class UpstreamFailedError(UpstreamError):
    """It could not be reached, broke off, failed (5xx) or answered nonsense (502)."""

    passing = True


class UpstreamTimeoutError(UpstreamError):
    """It did not answer in time (504)."""

    status = DeadlineExceededError.status
    code = DeadlineExceededError.code
    title = DeadlineExceededError.title
    passing = True


class UpstreamUnavailableError(UpstreamError):
    """It was not asked: it has failed too often, or too many calls are under way (503)."""

    status = ServiceUnavailableError.status
    code = ServiceUnavailableError.code
    title = ServiceUnavailableError.title

    def __init__(self, upstream: str, said: str, *, wait: float = 1.0) -> None:
        super().__init__(upstream, said, wait=wait)
        self.headers = {"Retry-After": str(max(round(wait), 1))}


class UpstreamRefusedError(UpstreamError):
    """It refused what it was asked for (4xx), which is our mistake and not our caller's (502).

    Attributes:
        response: what it said.
    """

    def __init__(self, upstream: str, response: Response) -> None:
        super().__init__(upstream, "refused what it was asked for")
        self.response = response


class AddressRefusedError(UpstreamError):
    """Its name leads to an address that may not be called (502)."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream, "is at an address that may not be called")
