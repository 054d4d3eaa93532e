"""Whom a token speaks for."""

import os
from typing import Any

import jwt

ISSUER = os.environ["OIDC_ISSUER"]
KEY = jwt.PyJWKClient(f"{ISSUER}/keys").get_signing_keys()[0]


def claims_of(token: str) -> dict[str, Any]:
    """Read a token.

    Raises:
        jwt.InvalidTokenError: it is not valid.
    """
    return jwt.decode(
        token,
        KEY,
        algorithms=["RS256"],
        issuer=ISSUER,
        audience=os.environ["OIDC_AUDIENCE"],
        options={"require": ["exp", "sub"]},
    )
