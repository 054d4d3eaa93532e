"""Tokens that must not let anybody in, whatever provider issues the good ones."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from threading import Thread
from time import time
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from httpx2 import AsyncClient, Response
from jwt.utils import base64url_encode

from app.config import Settings
from app.core.auth import tokens as module
from app.core.auth.provider import find_keys, token_rules
from app.core.auth.tokens import LONGEST_TOKEN
from tests.core.issuing.base import bearer
from tests.core.issuing.signing import (
    Claims,
    Part,
    Sign,
    SigningIssuer,
    SigningKey,
    compact,
    shared,
)

ME = "/api/v1/auth/me"
DEEP = "[" * 5000
HUGE = "9" * 5000

Attack = Callable[[SigningIssuer], str]


@cache
def foreign_key(algorithm: str) -> SigningKey:
    """The attacker's own."""
    return SigningKey(algorithm)


def header_of(issuer: SigningIssuer, **changes: Any) -> Claims:
    return {"typ": "JWT", "alg": issuer.key.algorithm, "kid": issuer.key.id, **changes}


def token(
    issuer: SigningIssuer,
    *,
    header: Part | None = None,
    claims: Part | None = None,
    sign: Sign | None = None,
) -> str:
    """Put a token together that is good but for what is given."""
    return compact(
        header_of(issuer) if header is None else header,
        issuer.claims() if claims is None else claims,
        sign or issuer.key.sign,
    )


def saying(claims: Claims) -> Attack:
    """The issuer itself has signed something wrong; Ellipsis leaves a claim out."""

    def attack(issuer: SigningIssuer) -> str:
        said = issuer.claims() | claims
        return token(issuer, claims={name: said[name] for name in said if said[name] is not ...})

    return attack


def seconds(**distances: float) -> Attack:
    """The same with times, told as distances from now."""

    def attack(issuer: SigningIssuer) -> str:
        now = time()
        return saying({name: now + distance for name, distance in distances.items()})(issuer)

    return attack


def written(name: str, text: str) -> Attack:
    """The same, with a value that no JSON writer makes."""

    def attack(issuer: SigningIssuer) -> str:
        said = issuer.claims()
        said.pop(name, None)
        return token(issuer, claims=f'{json.dumps(said)[:-1]}, "{name}": {text}}}')

    return attack


def header(**changes: Any) -> Attack:
    """The issuer's own signature below a strange header; Ellipsis leaves a parameter out."""

    def attack(issuer: SigningIssuer) -> str:
        said = header_of(issuer, **changes)
        return token(issuer, header={name: said[name] for name in said if said[name] is not ...})

    return attack


def unsigned(algorithm: object) -> Attack:
    return lambda issuer: token(issuer, header=header_of(issuer, alg=algorithm), sign=lambda _: b"")


def confused(algorithm: str, secret: Callable[[SigningKey], bytes], **changes: Any) -> Attack:
    """Something that everybody knows, used as a shared secret."""
    digest = algorithm.replace("HS", "sha")
    return lambda issuer: token(
        issuer,
        header=header_of(issuer, alg=algorithm, **changes),
        sign=shared(secret(issuer.key), digest),
    )


def foreign(algorithm: str, **changes: Any) -> Attack:
    """Signed with the attacker's own key, whatever the header says."""

    def attack(issuer: SigningIssuer) -> str:
        said = header_of(issuer, **{"alg": algorithm, **changes})
        return token(issuer, header=said, sign=foreign_key(algorithm).sign)

    return attack


def cut(part: int, length: int | None) -> Attack:
    def attack(issuer: SigningIssuer) -> str:
        parts = issuer.token().split(".")
        parts[part] = parts[part][:length]
        return ".".join(parts)

    return attack


def changed(change: Callable[[list[str]], list[str]]) -> Attack:
    return lambda issuer: ".".join(change(issuer.token().split(".")))


def public_jwk(key: SigningKey) -> bytes:
    return json.dumps(key.public).encode()


def others(parts: list[str]) -> list[str]:
    """Another's claims above the issuer's signature."""
    return [parts[0], base64url_encode(b'{"sub": "admin"}').decode(), parts[2]]


NO_TIMES: tuple[Any, ...] = ("soon", "4102444800", "", [4102444800], {}, True, 10**30)
TIMES: dict[str, Attack] = {
    "expired": seconds(exp=-31),
    "expired long ago": seconds(exp=-1e6),
    "not yet valid": seconds(nbf=45),
    "issued in the future": seconds(iat=45),
    **{
        f"{name} is {value!r:.20}": saying({name: value})
        for name in ("exp", "nbf", "iat")
        for value in NO_TIMES
    },
    **{
        f"{name} is written as {text:.10}": written(name, text)
        for name in ("exp", "nbf", "iat")
        for text in ("NaN", "Infinity", "-Infinity", "1e400", HUGE)
    },
    "no exp": saying({"exp": ...}),
    "exp is null": saying({"exp": None}),
    "exp is negative": saying({"exp": -1}),
}

NO_ISSUERS: tuple[Any, ...] = ("", "https://evil.example.com", None, 5, [], {})
NO_NAMES: tuple[Any, ...] = (
    "",
    None,
    5,
    True,
    ["ada"],
    {"a": 1},
    "a\0b",
    "a\nb",
    "\ud800",
    "a" * 256,
)
NAMES: dict[str, Attack] = {
    "no issuer": saying({"iss": ...}),
    "no subject": saying({"sub": ...}),
    **{f"issuer {value!r:.40}": saying({"iss": value}) for value in NO_ISSUERS},
    "issuer with a slash": lambda issuer: saying({"iss": issuer.claims()["iss"] + "/"})(issuer),
    "issuer in a list": lambda issuer: saying({"iss": [issuer.claims()["iss"]]})(issuer),
    "issuer in capitals": lambda issuer: saying({"iss": issuer.claims()["iss"].upper()})(issuer),
    "issuer and more": lambda issuer: saying({"iss": issuer.claims()["iss"] + ".evil.com"})(issuer),
    **{f"subject {value!r:.20}": saying({"sub": value}) for value in NO_NAMES},
}

NO_ALGORITHMS: tuple[Any, ...] = (
    *("none", "None", "NONE", "nOnE", " none", "none\0", ""),
    *(None, 0, [], {}, ["none"]),
)
SIGNATURES: dict[str, Attack] = {
    **{
        f"algorithm {algorithm!r:.20}, unsigned": unsigned(algorithm) for algorithm in NO_ALGORITHMS
    },
    "no algorithm": header(alg=...),
    "algorithm in small letters": lambda issuer: header(alg=issuer.key.algorithm.lower())(issuer),
    "unknown algorithm": header(alg="XX256"),
    **{
        f"{algorithm} with the public key as {name}": confused(algorithm, secret)
        for algorithm in ("HS256", "HS384", "HS512")
        for name, secret in {
            "PEM": lambda key: key.encoded(Encoding.PEM),
            "PEM without its last line": lambda key: key.encoded(Encoding.PEM).strip(),
            "DER": lambda key: key.encoded(Encoding.DER),
            "JWK": public_jwk,
            "key id": lambda key: key.id.encode(),
        }.items()
    },
    "public key as a secret, no key id": confused(
        "HS256", lambda key: key.encoded(Encoding.PEM), kid=None
    ),
    "empty secret": confused("HS256", lambda _: b""),
    "usual secret": confused("HS256", lambda _: b"secret"),
    "another RSA key": foreign("RS256"),
    "another EC key": foreign("ES256"),
    "another Edwards key": foreign("EdDSA"),
    "an EC key that says RSA": lambda issuer: token(
        issuer, header=header_of(issuer, alg="RS256"), sign=foreign_key("ES256").sign
    ),
    "an RSA key that says EC": lambda issuer: token(
        issuer, header=header_of(issuer, alg="ES256"), sign=foreign_key("RS256").sign
    ),
    "no signature": cut(2, 0),
    "half a signature": cut(2, 40),
    "a signature that lacks a letter": cut(2, -1),
    "zeros as a signature": lambda issuer: token(issuer, sign=lambda _: bytes(64)),
    "another's claims": changed(others),
}

KEY_IDS: dict[str, Attack] = {
    **{
        f"key id {value!r:.40}": foreign("ES256", kid=value)
        for value in (
            "unknown",
            "",
            None,
            5,
            True,
            [],
            ["a"],
            {"a": 1},
            "../../../../dev/null",
            "/etc/passwd",
            "file:///etc/passwd",
            "x' UNION SELECT 'secret' --",
            "a\0b",
            "\ud800",
            "k" * 257,
            "k" * 10_000,
        )
    },
    **{
        f"the issuer's signature with key id {value!r:.20}": header(kid=value)
        for value in ("unknown", "", None, 5, ["a"], {"a": 1}, "k" * 257)
    },
}

HEADERS: dict[str, Attack] = {
    "crit": header(crit=["exp"]),
    "crit that is known": header(crit=["b64"], b64=True),
    "crit that is empty": header(crit=[]),
    "b64": header(b64=True),
    "b64 false": header(b64=False, crit=["b64"]),
    "b64 false, not critical": header(b64=False),
    "zip": header(zip="DEF"),
    **{
        f"type {value!r}": header(typ=value)
        for value in ("logout+jwt", "dpop+jwt", "JWE", "", 5, None, ["JWT"])
    },
    "repeated algorithm": lambda issuer: token(
        issuer,
        header=f'{{"alg": "none", "alg": "{issuer.key.algorithm}", "kid": "{issuer.key.id}"}}',
    ),
    "repeated key id": lambda issuer: token(
        issuer, header='{"kid": "x", ' + json.dumps(header_of(issuer))[1:]
    ),
}

SHAPES: dict[str, Attack] = {
    **{f"part {part} cut to {length}": cut(part, length) for part in range(3) for length in (0, 1)},
    **{f"part {part} without its end": cut(part, -1) for part in range(3)},
    "two parts": changed(lambda parts: parts[:2]),
    "one part": changed(lambda parts: parts[:1]),
    "four parts": changed(lambda parts: [*parts, parts[2]]),
    "five parts": changed(lambda parts: [*parts, *parts[1:]]),
    "parts swapped": changed(lambda parts: [parts[1], parts[0], parts[2]]),
    "only dots": lambda _: "..",
    "one dot": lambda _: ".",
    "a word": lambda _: "nonsense",
    "no base64": lambda _: "!!!.???.***",
    "base64 with signs of the other alphabet": changed(lambda parts: [parts[0], parts[1], "+/=="]),
    "padding in the middle": changed(lambda parts: [parts[0], f"{parts[1]}====", parts[2]]),
    "very long": lambda _: "A" * 100_000,
    "very many parts": lambda _: "." * 10_000,
    "long and signed": saying({"more": "a" * LONGEST_TOKEN}),
    **{
        f"header {text:.12}": partial(token, header=text)
        for text in ("[]", '"alg"', "5", "null", "true", "", "{", "{'a': 1}", '{"alg"}', DEEP)
    },
    **{
        f"claims {text:.12}": partial(token, claims=text)
        for text in ("[]", '"sub"', "5", "null", "true", "", "{", "{'a': 1}", '{"sub"}', DEEP)
    },
    "deep object": lambda issuer: token(issuer, header='{"alg":' * 1500),
    "header in no encoding": partial(token, header=b"\xff\xfe\xfd"),
    "claims in no encoding": partial(token, claims=b"\xff\xfe\xfd"),
    "claims in another encoding": lambda issuer: token(
        issuer, claims=json.dumps(issuer.claims()).encode("utf-16")
    ),
    "repeated claim": lambda issuer: token(
        issuer, claims='{"sub": "admin", ' + json.dumps(issuer.claims())[1:]
    ),
    "repeated claim in an object": written("more", '{"a": 1, "a": 2}'),
    "NaN somewhere": written("more", "[NaN]"),
}

ATTACKS = {**TIMES, **NAMES, **SIGNATURES, **KEY_IDS, **HEADERS, **SHAPES}

ACCEPTED: dict[str, Attack] = {
    "as it is": token,
    "expired within the leeway": seconds(exp=-5),
    "not yet valid within the leeway": seconds(nbf=20, iat=20),
    "a time with a fraction": seconds(exp=60.5),
    "no time of issue": saying({"iat": ...}),
    "no type": header(typ=...),
    "the type of an access token": header(typ="at+jwt"),
    "the type as a media type": header(typ="application/at+jwt"),
    "a subject with signs": saying({"sub": "auth0|ünï'; DROP TABLE users --"}),
    "a subject of the longest kind": saying({"sub": "a" * 255}),
    "an unknown header": header(x5t="abc", more=1),
}
"""So that each attack is refused for what it is, and not because of how it is made."""


def refused(answer: Response) -> bool:
    return (
        answer.status_code == 401
        and answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
        and answer.headers["Content-Type"] == "application/problem+json"
        and answer.json()["code"] == "unauthenticated"
    )


@pytest.mark.parametrize("name", ACCEPTED)
async def test_good_tokens_are_accepted(
    name: str, stranger: AsyncClient, issuer: SigningIssuer
) -> None:
    answer = await stranger.get(ME, headers=bearer(ACCEPTED[name](issuer)))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("name", ATTACKS)
async def test_others_are_refused(name: str, stranger: AsyncClient, issuer: SigningIssuer) -> None:
    forged = ATTACKS[name](issuer)
    answer = await stranger.get(ME, headers=bearer(forged))
    assert refused(answer), answer.text
    assert forged[:20] not in answer.text


async def test_no_letter_of_a_token_can_be_changed(
    stranger: AsyncClient, issuer: SigningIssuer
) -> None:
    random = Random(4)  # noqa: S311 - the same letters in each run
    good = issuer.token()
    for _ in range(300):
        place = random.randrange(len(good))
        letter = random.choice(sorted(set("abcXYZ019-_.=~") - {good[place]}))
        answer = await stranger.get(ME, headers=bearer(good[:place] + letter + good[place + 1 :]))
        assert refused(answer), (place, letter)


async def test_a_token_says_why_it_is_refused(stranger: AsyncClient, issuer: SigningIssuer) -> None:
    async def detail(attack: Attack) -> str:
        answer = await stranger.get(ME, headers=bearer(attack(issuer)))
        return str(answer.json()["detail"])

    assert await detail(seconds(exp=-31)) == "The token has expired"
    assert await detail(lambda _: "A" * 100_000) == "The token is too long"
    assert await detail(unsigned("none")) == "The token is not valid"


async def test_a_token_that_was_accepted_expires(
    stranger: AsyncClient, issuer: SigningIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = seconds(exp=60)(issuer)
    assert (await stranger.get(ME, headers=bearer(good))).status_code == 200
    monkeypatch.setattr(module, "time", lambda: time() + 91)
    answer = await stranger.get(ME, headers=bearer(good))
    assert refused(answer), answer.text
    assert answer.json()["detail"] == "The token has expired"


async def test_a_token_is_computed_once_and_its_claims_belong_to_the_request(
    settings: Settings, issuer: SigningIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[str] = []

    def decode(token: str, **options: Any) -> Any:
        computed.append(token)
        return jwt.decode(token, **options)

    monkeypatch.setattr(module, "jwt", SimpleNamespace(**vars(jwt) | {"decode": decode}))
    verifier = module.Verifier(token_rules(settings), find_keys(settings))
    good = token(issuer, claims=issuer.claims("ada", roles=["admin"]) | {"more": {"a": 1}})
    first = await verifier.principal(good)
    told = dict(first.claims)
    first.claims["more"].clear()
    second = await verifier.principal(good)
    assert second.claims == told | {"more": {"a": 1}}
    assert (second.subject, second.roles) == ("ada", first.roles)
    assert computed == [good]


@contextmanager
def key_set_of_the_attacker(key: SigningKey) -> Iterator[tuple[str, list[str]]]:
    """Serve the attacker's key set; give its address and what was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps({"keys": [key.public]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the output of the tests clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.mark.parametrize("known", [True, False], ids=["issuer's key id", "attacker's key id"])
async def test_a_token_cannot_bring_its_own_key(
    known: bool, stranger: AsyncClient, issuer: SigningIssuer
) -> None:
    for algorithm in ("RS256", "ES256"):
        key = foreign_key(algorithm)
        certificate = base64url_encode(key.encoded(Encoding.DER)).decode()
        with key_set_of_the_attacker(key) as (address, asked):
            brought: list[Claims] = [
                {"jku": f"{address}/keys"},
                {"x5u": f"{address}/certificate"},
                {"jwk": key.public},
                {"x5c": [certificate]},
                {"jku": f"{address}/keys", "jwk": key.public, "x5u": address},
            ]
            for extra in brought:
                said = header_of(issuer, alg=algorithm, **extra)
                if not known:
                    said["kid"] = f"{address}/keys" if "jku" in extra else key.id
                forged = token(issuer, header=said, sign=key.sign)
                assert refused(await stranger.get(ME, headers=bearer(forged))), extra
            forged = saying({"iss": address})(issuer)
            assert refused(await stranger.get(ME, headers=bearer(forged)))
        assert asked == []


async def test_tokens_are_only_read_from_the_header(
    stranger: AsyncClient, issuer: SigningIssuer
) -> None:
    good = issuer.token()
    elsewhere: list[dict[str, Any]] = [
        {"params": {"access_token": good, "token": good}},
        {"headers": {"Cookie": f"access_token={good}; __session={good}; token={good}"}},
        {"headers": {"X-Authorization": f"Bearer {good}", "X-Access-Token": good}},
        {"headers": {"Proxy-Authorization": f"Bearer {good}"}},
    ]
    for request in elsewhere:
        answer = await stranger.get(ME, **request)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_the_header_has_one_form(stranger: AsyncClient, issuer: SigningIssuer) -> None:
    good = issuer.token().encode()

    async def status(*values: bytes) -> int:
        headers = [(b"Authorization", value) for value in values]
        return (await stranger.get(ME, headers=headers)).status_code

    for accepted in (b"Bearer " + good, b"bearer " + good, b"BEARER " + good, b"Bearer  " + good):
        assert await status(accepted) == 200
    for refusal in (
        good,
        b"Bearer",
        b"Bearer" + good,
        b"Token " + good,
        b"Basic " + good,
        b"DPoP " + good,
        b"Bearer\t" + good,
        b"Bearer, " + good,
        b'Bearer token="' + good + b'"',
        b"Bearer " + good + b", Bearer " + good,
        b"Bearer " + good + b" " + good,
        b"Bearer Bearer " + good,
        b"Bearer \xff\xfe" + good,
        b"Bearer " + good + "é".encode(),
        "Bearer tökén".encode(),
        "Bearer \u202e".encode() + good,
    ):
        assert await status(refusal) == 401, refusal
    assert await status(b"Bearer " + good, b"Bearer " + good) == 401
    assert await status(b"Bearer " + good, b"Basic YTpi") == 401


@pytest.mark.parametrize(
    "claims",
    [{"scope": value} for value in (5, {"a": 1}, [5, None, ["read"]], ["\ud800"], "", None, True)],
    ids=str,
)
async def test_strange_rights_are_none(
    claims: Claims, stranger: AsyncClient, issuer: SigningIssuer
) -> None:
    answer = await stranger.get(ME, headers=bearer(saying(claims)(issuer)))
    assert answer.status_code == 200, answer.text
    assert answer.json()["scopes"] == []
