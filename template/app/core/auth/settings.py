"""What the settings of all providers have in common."""

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator


def _check_issuer(value: str) -> str:
    parts = urlsplit(value)
    complete = parts.scheme in ("http", "https") and parts.hostname
    if not complete or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must be an address such as https://login.example.com")
    return value


IssuerUrl = Annotated[str, AfterValidator(_check_issuer)]
"""Address of an issuer of tokens: http(s), without query and fragment."""


def insecure_issuer(name: str, issuer: str) -> Iterator[str]:
    """Name an issuer whose keys anybody on the way could replace."""
    if urlsplit(issuer).scheme != "https":
        yield f"{name} must begin with https://"
