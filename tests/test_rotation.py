"""Keys change under load: nobody who is signed in notices, on any of several processes."""

import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import httpx2
import jwt
import pytest

from tests.support.answers import Resolver
from tests.support.figures import Figure
from tests.support.render import Renderer
from tests.support.runs import environment, free_port, python, running, vault_program
from tests.support.template import Template
from tests.support.vaults import ROOT_TOKEN, stored, vault_server

AUTH = "/api/v1/auth"
EMAIL = "ada@example.com"
PASSWORD = "a passphrase nobody knows"  # noqa: S105
PEOPLE = 4
REFRESH_SECONDS = 1
ROUND_SECONDS = 1.0
"""How long each pauses between its questions; the key changes after minutes of them."""


class Visitor(threading.Thread):
    """Signs in, and goes on asking and refreshing until it is told to stop."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = f"{url}{AUTH}"
        # Each time over a new connection, so that all processes are asked.
        self.client = httpx2.Client(timeout=60, limits=httpx2.Limits(max_keepalive_connections=0))
        self.tokens = self._post("login", email=EMAIL, password=PASSWORD)
        self.first = self.tokens
        self.answers: Counter[int] = Counter()
        self.signed_by = {key_id(self.tokens)}
        self.leaving = threading.Event()

    def run(self) -> None:
        """Use the first token and the newest."""
        while not self.leaving.wait(ROUND_SECONDS):
            for tokens in (self.first, self.tokens):
                self.answers[self.me(tokens)] += 1
            self.tokens = self._post("refresh", refresh_token=self.tokens["refresh_token"])
            self.signed_by.add(key_id(self.tokens))

    def me(self, tokens: dict[str, str]) -> int:
        """Ask who one is."""
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        return self.client.get(f"{self.url}/me", headers=headers).status_code

    def refresh(self, tokens: dict[str, str]) -> int:
        """Ask for new tokens."""
        body = {"refresh_token": tokens["refresh_token"]}
        return self.client.post(f"{self.url}/refresh", json=body).status_code

    def _post(self, path: str, **body: str) -> dict[str, str]:
        answer = self.client.post(f"{self.url}/{path}", json=body)
        assert answer.status_code == 200, answer.text
        tokens: dict[str, str] = answer.json()
        return tokens


def key_id(tokens: dict[str, str]) -> str:
    """Read which key has signed."""
    return str(jwt.get_unverified_header(tokens["access_token"])["kid"])


def test_keys_change_under_load(tmp_path: Path, figure: Figure) -> None:
    if vault_program() is None:
        pytest.skip("no vault program (.ci/vault/build builds one)")
    template = Template()
    renderer = Renderer(template)
    answers = Resolver(template).resolve({"auth": "local", "vault": True, "database": "sqlite"})
    service = renderer.write(renderer.tree(answers), tmp_path / "service")
    with vault_server() as vault:
        secret = {"SECRET_KEY": "s" * 40, "JWT_SECRET": "the-first-one-" * 4}
        variables = {
            **stored(vault, service, "rotated", secret),
            "VAULT_REFRESH_SECONDS": str(REFRESH_SECONDS),
            "ENVIRONMENT": "development",
            "DATABASE_URL": f"sqlite:///{tmp_path}/service.db",
            "WEB_CONCURRENCY": "2",
        }
        python(service, "-m", "app.core.migrate", **variables)
        create_user(service, variables)
        port = free_port()
        command = [sys.executable, "-m", "app"]
        with running(command, service, port, environment(**variables, PORT=str(port))) as server:
            server.wait_until("/ready")
            visitors = [Visitor(server.url) for _ in range(PEOPLE)]
            for visitor in visitors:
                visitor.start()
            rotating = {"VAULT_TOKEN": ROOT_TOKEN, "VAULT_ROLE_ID": "", "VAULT_SECRET_ID": ""}
            python(service, "-m", "app.core.secrets.vault.rotate", **{**variables, **rotating})
            wait_for_new_key(visitors)
            for visitor in visitors:
                visitor.leaving.set()
                visitor.join()
            answered = sum((visitor.answers for visitor in visitors), Counter())
            assert set(answered) == {200}, answered
            figure(f"{answered.total()} requests while the signing key changed, none refused")
            thief = visitors[0]
            assert thief.refresh(thief.first) == 401
            assert thief.refresh(thief.tokens) == 401
            assert visitors[1].refresh(visitors[1].tokens) == 200
            server.stop(signal.SIGTERM)
    assert not [line for line in server.output if "Traceback" in line]


def create_user(service: Path, variables: dict[str, str]) -> None:
    """Make a user as an administrator does."""
    subprocess.run(
        [sys.executable, "-m", "app.core.auth.local.admin", "create", EMAIL],
        cwd=service,
        env=environment(**variables),
        input=f"{PASSWORD}\n",
        text=True,
        check=True,
        timeout=60,
    )


def wait_for_new_key(visitors: list[Visitor]) -> None:
    """Let everybody go on until both keys have signed for each."""
    for visitor in visitors:
        while len(visitor.signed_by) < 2:
            visitor.join(0.1)
            assert visitor.is_alive(), visitor.answers
