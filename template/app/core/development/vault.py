"""Write development secrets into a development Vault: `make vault-seed`.

Only what is missing is written, so it can be repeated. Addresses of databases are taken over when
the environment or `.env` has them; afterwards they can be taken out there.
"""

import sys
from collections.abc import Callable, Mapping
from secrets import token_urlsafe

from pydantic import SecretStr, create_model

from app.core.database.layout import DATABASES
from app.core.secrets.vault.address import VaultAddress
from app.core.secrets.vault.session import OUTAGES, Session, session_for
from app.core.settings import AppSettings, load_settings

GENERATED: Mapping[str, Callable[[], str]] = {
    "SECRET_KEY": lambda: token_urlsafe(48),
    "JWT_SECRET": lambda: token_urlsafe(48),
}
ADDRESSES = [database.variable for database in DATABASES]


class SeedSettings(VaultAddress, AppSettings):
    """How to reach Vault; nothing is read from there before it is written."""


Given = create_model(  # type: ignore[call-overload]
    "Given", __base__=SeedSettings, **dict.fromkeys(ADDRESSES, (str | None, None))
)


def seed(session: Session, given: Mapping[str, str]) -> list[str]:
    """Write the names that are missing and give them.

    Raises:
        Exception: one of `OUTAGES`.
    """
    found = session.read_own()
    have: Mapping[str, SecretStr] = found.values if found else {}
    values = {name: value.get_secret_value() for name, value in have.items()}
    wanted = {name: make() for name, make in GENERATED.items()} | dict(given)
    missing = {name: value for name, value in wanted.items() if name not in values}
    if missing:
        session.write("", values | missing, found.version if found else 0)
    return sorted(missing)


def main() -> None:
    """Seed the Vault that the environment names.

    Raises:
        SystemExit: this is not development, or Vault does not answer; one line says which.
    """
    settings = load_settings(Given)
    if settings.environment != "development":
        raise SystemExit(f"vault-seed is for development only, not for {settings.environment}")
    if settings.vault_addr is None:
        raise SystemExit("vault-seed: VAULT_ADDR is required (see .env.example)")
    if problem := settings.login_problem():
        raise SystemExit(f"vault-seed: {problem}")
    session = session_for(settings)
    given = {name.upper(): value for name in ADDRESSES if (value := getattr(settings, name))}
    try:
        written = seed(session, given)
    except OUTAGES as error:
        raise SystemExit(f"vault-seed: {session.explain(error)}") from None
    place = f"{settings.vault_mount}/{settings.vault_path}"
    sys.stdout.write(f"{place}: {', '.join(written) or 'nothing was missing'}\n")


if __name__ == "__main__":
    main()
