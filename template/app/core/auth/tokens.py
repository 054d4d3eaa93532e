"""What a token must fulfil, whoever issued it, and how its claims become a principal."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from time import time
from typing import Any, Literal, Protocol

import jwt
from jwt import PyJWK

from app.core.auth.principal import Principal
from app.core.errors import UnauthenticatedError

LEEWAY_SECONDS = 30
"""How far the clocks of two machines may be apart."""

MOST_REMEMBERED = 1024
"""Tokens that were accepted lately: a caller sends the same one with each request."""

LONGEST_TOKEN = 16_384
LONGEST_NAME = 255
"""Of a subject (OpenID Connect Core, 2), a tenant or a role."""
LATEST = 253_402_300_799
"""The last second of the year 9999: what lies behind it is no time, but a mistake or an attack."""

TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
"""What an access token calls itself; others, such as `logout+jwt`, are for other readers."""
NOT_UNDERSTOOD = frozenset({"b64", "zip"})
"""Headers that change how a token is read, which no provider uses; PyJWT refuses all `crit`."""

# A key is only ever used with algorithms of its own kind: otherwise somebody may sign with a public
# RSA key as if it were a shared secret (RFC 8725, 2.1 and 3.1).
ALGORITHMS_OF_KEY: Mapping[tuple[str, str | None], frozenset[str]] = {
    ("RSA", None): frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA"}),
}
ASYMMETRIC = ("RS256", "ES256", "EdDSA", "PS256", "ES384", "RS384", "RS512")


class Keys(Protocol):
    """Where the keys of an issuer are found."""

    async def find(self, key_id: str | None) -> PyJWK | None:
        """Give the key of this id, or the only one there is when no id is given.

        Raises:
            ServiceUnavailableError: the keys cannot be had now.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimNames:
    """Where a token says what a principal is; a dot leads into an object.

    The first claim that is there counts. `role_prefix` is cut off where a role begins with it.
    `operator` is the role of those who run the service; None where all roles are given by tenants.
    """

    tenant: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ("scope", "scp")
    role_prefix: str = ""
    operator: str | None = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRules:
    """What a provider's tokens must fulfil.

    Attributes:
        provider: the name that principals get.
        issuer: the only accepted `iss`.
        audience: the only accepted `aud`; None accepts any.
        algorithms: those that are accepted.
        secret: verifies HS256, which is refused without it.
        authorized_parties: accepted `azp`, when the token names one; empty accepts any.
        refused: a claim, and the value with which a token is not accepted.
        claims: where the principal is described.
    """

    provider: str
    issuer: str
    audience: str | None = None
    algorithms: tuple[str, ...] = ASYMMETRIC
    secret: str | None = field(default=None, repr=False)
    authorized_parties: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    claims: ClaimNames = ClaimNames()


Reason = Literal["too_long", "expired", "invalid"]
"""Why a token is not accepted."""


class TokenRefusedError(UnauthenticatedError):
    """A token was sent and is not accepted; why is told in words that help no attacker.

    Attributes:
        reason: the same in one word, for those who count.
    """

    def __init__(self, detail: str, reason: Reason) -> None:
        super().__init__(detail, challenge='Bearer error="invalid_token"')
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class _Accepted:
    """What a token says that was found good; its time may have passed since.

    Attributes:
        principal: for whom it speaks, without its claims.
        claims: as JSON, since whoever is given them may change them.
        expires: in seconds since 1970.
    """

    principal: Principal
    claims: bytes
    expires: float


class Verifier:
    """Accepts or refuses tokens.

    A token's signature is computed once; its key and its end are looked at with each request.
    """

    def __init__(self, rules: TokenRules, keys: Keys) -> None:
        self.rules = rules
        self.keys = keys
        self._accepted = lru_cache(MOST_REMEMBERED)(self._accept)

    async def principal(self, token: str) -> Principal:
        """Say for whom a token speaks.

        Raises:
            TokenRefusedError: it is not valid, now and here.
            ServiceUnavailableError: the issuer's keys cannot be had, so nobody can tell.
        """
        if len(token) > LONGEST_TOKEN:
            raise TokenRefusedError("The token is too long", "too_long")
        try:
            algorithm, key_id = _read_header(token.partition(".")[0])
            accepted = self._accepted(token, algorithm, await self._key(algorithm, key_id))
        except jwt.ExpiredSignatureError:
            raise _expired() from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise TokenRefusedError("The token is not valid", "invalid") from None
        if accepted.expires <= time() - LEEWAY_SECONDS:
            raise _expired()
        return replace(accepted.principal, claims=json.loads(accepted.claims))

    async def _key(self, algorithm: str, key_id: str | None) -> PyJWK | str:
        if algorithm == "HS256" and self.rules.secret is not None:
            return self.rules.secret
        if algorithm not in self.rules.algorithms:
            raise jwt.InvalidAlgorithmError
        key = await self.keys.find(key_id)
        if key is None or algorithm not in algorithms_of(key):
            raise jwt.InvalidKeyError
        return key

    def _accept(self, token: str, algorithm: str, key: PyJWK | str) -> _Accepted:
        claims: dict[str, Any] = jwt.decode(
            token,
            key=key.key if isinstance(key, PyJWK) else key,
            algorithms=[algorithm],
            issuer=self.rules.issuer,
            audience=self.rules.audience,
            leeway=LEEWAY_SECONDS,
            options={
                "require": ["exp", "sub"],
                "verify_aud": self.rules.audience is not None,
                "enforce_minimum_key_length": True,
            },
        )
        _strict_json(token.split(".")[1])
        party = claims.get("azp")
        if self.rules.authorized_parties and party not in (None, *self.rules.authorized_parties):
            raise jwt.InvalidTokenError
        if any(claims.get(name) == value for name, value in self.rules.refused.items()):
            raise jwt.InvalidTokenError
        if not all(_is_time(claims[name]) for name in ("exp", "nbf", "iat") if name in claims):
            raise jwt.InvalidTokenError
        if not _is_name(claims["sub"]):
            raise jwt.InvalidTokenError
        return _Accepted(
            principal=self._describe(claims),
            claims=json.dumps(claims).encode(),
            expires=int(claims["exp"]),
        )

    def _describe(self, claims: Mapping[str, Any]) -> Principal:
        names = self.rules.claims
        tenant = _first(claims, names.tenant)
        roles = frozenset(
            role.removeprefix(names.role_prefix) for role in _words(_first(claims, names.roles))
        )
        return Principal(
            subject=claims["sub"],
            provider=self.rules.provider,
            tenant=tenant if _is_name(tenant) else None,
            roles=roles,
            operator=names.operator in roles,
            scopes=_words(_first(claims, names.scopes)),
        )


def _expired() -> TokenRefusedError:
    return TokenRefusedError("The token has expired", "expired")


def algorithms_of(key: PyJWK) -> frozenset[str]:
    """The algorithms that a public key may be used with; none for a shared secret."""
    data = key._jwk_data
    possible = ALGORITHMS_OF_KEY.get((data["kty"], data.get("crv")), frozenset())
    return possible & {data["alg"]} if data.get("alg") else possible


@lru_cache(maxsize=64)
def _read_header(segment: str) -> tuple[Any, Any]:
    """Give the algorithm and the key's id that a token names; those of an issuer are the same."""
    # PyJWT's own reading of headers decodes all of the token, and so does the verification.
    header = _strict_json(segment)
    if not isinstance(header, dict) or header.keys() & NOT_UNDERSTOOD:
        raise jwt.InvalidTokenError
    if str(header.get("typ", "JWT")).lower() not in TYPES:
        raise jwt.InvalidTokenError
    return header.get("alg"), header.get("kid")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is repeated")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)


def _strict_json(segment: str) -> Any:
    """Read a part of a token; two readers must not see two different claims (RFC 8725, 2.4)."""
    return _JSON.decode(jwt.utils.base64url_decode(segment).decode())


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= LATEST


def _is_name(value: Any) -> bool:
    """Whether a text can be stored and shown: no control characters, no half surrogate pairs."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable()


def _first(claims: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    for name in names:
        if (value := _claim(claims, name)) is not None:
            return value
    return None


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    if name in claims:  # a name may itself contain dots: https://example.com/roles
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _words(value: Any) -> frozenset[str]:
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list):
        return frozenset()
    return frozenset(filter(_is_name, words))
