"""Replace the key that signs tokens, without logging anybody out: `make rotate-jwt`.

Three secrets take part: `JWT_SECRET` signs, `JWT_SECRET_PREVIOUS` is still accepted, and
`JWT_SECRET_NEXT` is published but does not sign yet. A new key is first written as the next one.
When every process has taken that up, all three move on by one. So whoever verifies a token knows
its key before the first token is signed with it.

Several at once and one that is interrupted are safe: each write is refused if somebody else wrote
meanwhile, and a key that is already the next one is used instead of a new one.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from secrets import token_urlsafe

from pydantic import SecretStr
from pydantic_settings import DotEnvSettingsSource

from app.core.logging import configure_logging
from app.core.secrets.port import Secret, SecretConflictError, SecretsUnavailableError, Store
from app.core.secrets.vault.address import VaultAddress
from app.core.secrets.vault.session import OUTAGES, session_for
from app.core.secrets.vault.store import VaultStore
from app.core.settings import AppSettings, load_settings

CURRENT = "JWT_SECRET"
PREVIOUS = "JWT_SECRET_PREVIOUS"
NEXT = "JWT_SECRET_NEXT"

OWN = ""
"""The path of the secret whose keys are settings."""

READERS_SECONDS = 300.0
"""How long others keep the published keys, as `Cache-Control` allows them."""

Pause = Callable[[float], Awaitable[None]]


class RotationSettings(VaultAddress, AppSettings):
    """How to reach Vault; nothing is read from there before the work begins."""


async def rotate_jwt_secret(store: Store, seconds: float, *, pause: Pause = asyncio.sleep) -> bool:
    """Publish a new key, wait until everybody knows it, then sign with it.

    Args:
        store: where the keys are.
        seconds: after which every process and every reader of the keys knows a new one.
        pause: waits for some seconds; others are for tests.

    Returns:
        Whether it was this call that moved the keys on, not another one at the same time.

    Raises:
        SecretsUnavailableError: the store does not answer, or refuses; call it again later.
        LookupError: the service has no secret in the store.
    """
    key = await _published(store)
    await pause(seconds)
    return await _moved_on(store, key)


async def _published(store: Store) -> str:
    """Give the next key, and write one first if there is none."""
    while True:
        secret = await _read(store)
        if NEXT in secret.values:
            return secret.values[NEXT].get_secret_value()
        await _written(store, secret, {NEXT: token_urlsafe(48)})


async def _moved_on(store: Store, key: str) -> bool:
    """Let the next key sign, unless somebody else did so while we waited."""
    while True:
        secret = await _read(store)
        following = secret.values.get(NEXT)
        if following is None or following.get_secret_value() != key:
            return False
        moved = {CURRENT: key, PREVIOUS: _text(secret.values.get(CURRENT)), NEXT: None}
        if await _written(store, secret, moved):
            return True


async def _read(store: Store) -> Secret:
    secret = await store.get(OWN, None)
    if secret is None:
        raise LookupError("the service has no secret in the store: make vault-seed")
    return secret


async def _written(store: Store, secret: Secret, changes: Mapping[str, str | None]) -> bool:
    values = {name: value.get_secret_value() for name, value in secret.values.items()}
    changed = {**values, **changes}
    kept = {name: value for name, value in changed.items() if value is not None}
    try:
        await store.put(OWN, kept, secret.version)
    except SecretConflictError:
        return False
    return True


def _text(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value else None


def main() -> None:
    """Rotate the key of the service whose environment this is.

    Raises:
        SystemExit: it cannot be done; one line says why.
    """
    settings = load_settings(RotationSettings)
    configure_logging(settings, sys.stderr)
    if settings.vault_addr is None:
        raise SystemExit("rotation: VAULT_ADDR is required")
    if problem := settings.login_problem():
        raise SystemExit(f"rotation: {problem}")
    _refuse_names_that_win_over_vault()
    refresh = settings.vault_refresh_seconds
    seconds = refresh + max(refresh, READERS_SECONDS)
    session = session_for(settings)
    try:
        session.ensure()
        store = VaultStore(session, refresh, lambda _: None)
        rotated = asyncio.run(rotate_jwt_secret(store, seconds, pause=_announced_pause))
    except OUTAGES as error:
        raise SystemExit(f"rotation: {session.explain(error)}") from None
    except (SecretsUnavailableError, LookupError) as error:
        raise SystemExit(f"rotation: {error}") from None
    sys.stdout.write("Done\n" if rotated else "Another rotation was faster: done\n")


async def _announced_pause(seconds: float) -> None:
    sys.stdout.write(f"The new key is published; it signs in {seconds:.0f} s\n")
    sys.stdout.flush()
    await asyncio.sleep(seconds)


def _refuse_names_that_win_over_vault() -> None:
    said = {*os.environ, *map(str.upper, DotEnvSettingsSource(RotationSettings).env_vars)}
    if names := [name for name in (CURRENT, PREVIOUS, NEXT) if name in said]:
        raise SystemExit(f"rotation: {names[0]} is in the environment, which wins: take it out")


if __name__ == "__main__":
    main()
