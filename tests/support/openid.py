"""A certified OpenID provider (npm's oidc-provider) as a process, and what a client asks of it."""

import base64
import hashlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit

import httpx2

PROJECT = Path(__file__).parent / "openid_provider"
AUDIENCE = "https://api.example.com"
OTHER_AUDIENCE = "https://other.example.com"
REDIRECT = "https://app.example.com/signed-in"
INSTALL_SECONDS = 300
STOP_SECONDS = 20
MOST_REDIRECTS = 10


class NotAvailableError(Exception):
    """The provider cannot be had on this machine; the message says what is missing."""


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
        )
        assert answer.status_code == 200, answer.text
        tokens: dict[str, str] = answer.json()
        return tokens

    def _code(self, login: str, request: dict[str, str]) -> str:
        with httpx2.Client(base_url=self.issuer) as browser:
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
def openid_provider() -> Iterator[Provider]:
    """Run the provider on loopback until the block is left.

    Raises:
        NotAvailableError: Node.js is missing, or the packages cannot be had.
    """
    process = subprocess.Popen(
        ["node", "provider.js"],
        cwd=_installed(),
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


def _installed() -> Path:
    """Install the provider once for each content of its project, outside of the repository."""
    if missing := [name for name in ("node", "npm") if not shutil.which(name)]:
        raise NotAvailableError(f"no {' and no '.join(missing)} on this machine")
    files = sorted(PROJECT.iterdir())
    content = b"".join(file.read_bytes() for file in files)
    directory = _cache() / f"openid-provider-{hashlib.sha256(content).hexdigest()[:16]}"
    if directory.is_dir():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=directory.parent) as place:
        made = Path(place) / "provider"
        shutil.copytree(PROJECT, made)
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=made,
            check=False,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
        )
        if done.returncode != 0:
            raise NotAvailableError(
                f"npm cannot install oidc-provider: {done.stderr.strip()[-300:]}"
            )
        try:
            made.rename(directory)
        except OSError:  # another process was faster
            assert directory.is_dir()
    return directory


def _cache() -> Path:
    given = os.environ.get("CI_CACHE_DIR")
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "groundwork"
    return Path(given) if given else usual
