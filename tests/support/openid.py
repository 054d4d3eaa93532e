"""A certified OpenID provider (npm's oidc-provider) as a process, and what a client asks of it."""

import base64
import hashlib
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2

from tests.support.node import installed
from tests.support.runs import environment

PROJECT = Path(__file__).parent / "openid_provider"
AUDIENCE = "https://api.example.com"
OTHER_AUDIENCE = "https://other.example.com"
REDIRECT = "https://app.example.com/signed-in"
STOP_SECONDS = 60
MOST_REDIRECTS = 10


@dataclass(frozen=True)
class Provider:
    """The running provider.

    Attributes:
        issuer: its address.
    """

    issuer: str
    process: "subprocess.Popen[str]"

    def order(self, word: str) -> None:
        """Have it `rotate` its signing key, or `forget` the old ones."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == word

    def machine_token(self, audience: str = AUDIENCE, scope: str = "read") -> str:
        """Get an access token for a program (RFC 6749, 4.4, with RFC 8707)."""
        answer = httpx2.post(
            f"{self.issuer}/token",
            data={"grant_type": "client_credentials", "resource": audience, "scope": scope},
            auth=("a-machine", "a-secret"),
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def tokens_of(self, login: str) -> dict[str, str]:
        """Sign somebody in as a browser does (authorization code with PKCE); give all tokens."""
        verifier = secrets.token_urlsafe(48)
        digest = hashlib.sha256(verifier.encode()).digest()
        code = self._code(
            login,
            {
                "client_id": "a-page",
                "response_type": "code",
                "redirect_uri": REDIRECT,
                "scope": "openid read",
                "resource": AUDIENCE,
                "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
                "code_challenge_method": "S256",
            },
        )
        answer = httpx2.post(
            f"{self.issuer}/token",
            data={
                "grant_type": "authorization_code",
                "client_id": "a-page",
                "code": code,
                "redirect_uri": REDIRECT,
                "code_verifier": verifier,
            },
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        tokens: dict[str, str] = answer.json()
        return tokens

    def _code(self, login: str, request: dict[str, str]) -> str:
        with httpx2.Client(base_url=self.issuer, timeout=60) as browser:
            answer = browser.get("/auth", params=request)
            for _ in range(MOST_REDIRECTS):
                address = answer.headers.get("location", "")
                if address.startswith(REDIRECT):
                    return parse_qs(urlsplit(address).query)["code"][0]
                if address:
                    answer = browser.get(address)
                    continue
                # A page with a form: first for the name, then for the consent.
                prompt = "login" if 'name="login"' in answer.text else "consent"
                form = {"prompt": prompt, "login": login, "password": "any"}
                answer = browser.post(answer.request.url.path, data=form)
        raise AssertionError(f"nobody was signed in: {answer.text}")


@contextmanager
def openid_provider(frontend: str = "") -> Iterator[Provider]:
    """Run the provider on loopback until the block is left.

    Args:
        frontend: the address of a frontend, which is its client `a-frontend` then.

    Raises:
        NotAvailableError: Node.js is missing, or the packages cannot be had.
    """
    process = subprocess.Popen(
        ["node", "provider.js"],
        cwd=_project(),
        env=environment(FRONTEND_URL=frontend),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it warns that it is not meant for production
        text=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        issuer = process.stdout.readline().strip()
        assert issuer, f"the provider ended with {process.wait()}"
        yield Provider(issuer, process)
    finally:
        process.stdin.close()
        process.wait(STOP_SECONDS)
        process.stdout.close()


def _project() -> Path:
    """Install the provider."""
    files = {file.name: file.read_text("utf-8") for file in PROJECT.iterdir()}
    return installed("openid-provider", files)
