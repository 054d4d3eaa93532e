"""What the gateway refuses by itself, besides what every service may refuse."""

from app.core.errors import AppException


class CallerTooSlowError(AppException):
    """The caller has stopped in the midst of its request."""

    status = 408
    code = "request_timeout"
    title = "The request took too long"


class TargetTooLongError(AppException):
    """The path and the query are longer than the gateway passes on."""

    status = 414
    code = "target_too_long"
    title = "The address is too long"


class HeadersTooLargeError(AppException):
    """The header is larger than the gateway passes on."""

    status = 431
    code = "headers_too_large"
    title = "The headers are too large"
