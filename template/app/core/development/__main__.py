"""Start the service for development: `make dev`.

Without a DATABASE_URL, in the environment or in `.env`, a database server of its own is started
and stopped with the service; its data stays in `.local/`. The same goes for whoever signs in.
"""

import socket
import sys
from collections.abc import Mapping

import uvicorn

from app.core.development.local import local_databases
from app.core.development.sign_in import running_issuer
from app.core.migrate import upgrade
from app.core.settings import AppSettings, load_settings


def main() -> None:
    """Start the database if there is none, migrate, and serve with hot reload.

    Raises:
        SystemExit: the port is taken, or the settings are incomplete; one line says which.
    """
    settings = load_settings(AppSettings)
    _check_port(settings.host, settings.port)
    root = f"http://{settings.host}:{settings.port}"
    with local_databases(), running_issuer(f"{root}{settings.api_v1_str}") as sign_in:
        upgrade()
        paths = {"API": settings.api_v1_str, "Docs": "/docs", "Ready": "/ready"}
        _announce({**{name: f"{root}{path}" for name, path in paths.items()}, **sign_in})
        uvicorn.run(
            "app.main:app",
            host=settings.host,
            port=settings.port,
            reload=True,
            reload_dirs=["app"],
            ws_per_message_deflate=False,
            ws_max_size=settings.largest_message,
            access_log=False,
            log_config=None,
        )


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SystemExit(
                f"Port {port} cannot be used ({error.strerror}): choose another, for example"
                f" make dev PORT={port + 1}"
            ) from None


def _announce(lines: Mapping[str, str]) -> None:
    for name, text in {**lines, "Stop": "Ctrl-C"}.items():
        sys.stdout.write(f"{name:<6} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
