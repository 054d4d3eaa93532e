"""A process forked from one that asks Vault: `python -m tests.core.vault.forked`.

It ends by 0 when it asks over a connection of its own, and waits for no thread of the other one.
"""

import os
import signal
import sys
import traceback

from app.core.secrets.vault.address import VaultAddress
from app.core.secrets.vault.session import Session, session_for

PATIENCE = 30
connections: list[object] = []


def note_connection(event: str, arguments: tuple[object, ...]) -> None:
    """Note where this process connects to."""
    if event == "socket.connect":
        connections.append(arguments[1])


def fork(session: Session) -> int:
    """Start it, and give its process id."""
    if process := os.fork():
        return process
    signal.alarm(PATIENCE)
    try:
        ask(session)
    except BaseException:  # noqa: BLE001 - nothing may go on in this process
        traceback.print_exc()
        code = 1
    else:
        code = 0
    sys.stdout.flush()
    os._exit(code)


def ask(session: Session) -> None:
    """Read what the other process has read already."""
    connections.clear()
    session.read_own()
    assert connections, "this was asked over the connection of another process"


if __name__ == "__main__":
    sys.addaudithook(note_connection)
    variables = {name.lower(): value for name, value in os.environ.items()}
    session = session_for(VaultAddress.model_validate(variables))
    session.read_own()
    with session._lock:  # as a thread that renews the token
        process = fork(session)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
