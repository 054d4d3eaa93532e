"""The address of a database, now: a store of secrets may change it while the service runs."""

from collections.abc import Iterator

import structlog
from pydantic import SecretStr
from sqlalchemy import URL
from sqlalchemy.util import await_only

from app.core.database.settings import driver_url
from app.core.secrets.port import secrets

log = structlog.get_logger(logger_name="app.database")


class PresentAddress:
    """Follows a setting that holds an address.

    The address before a change is kept: while a password is being changed there is a moment when
    the store has the new one and the server still wants the old one, or the other way round.

    Args:
        url: the address at the start.
        variable: the field of the settings that it came from.
    """

    def __init__(self, url: URL, variable: str) -> None:
        self.first = url
        self._variable = variable
        self._seen = self._said()
        self._known = [url]

    def newest(self) -> URL:
        """Give the address that was said last."""
        said = self._said()
        if said != self._seen:
            self._seen = said
            self._learn(said)
        return self._known[0]

    def others(self) -> Iterator[URL]:
        """Give what else may be right when the server refuses the newest; waits for the store.

        The newest comes once more at the end: the server may change its mind in between.
        """
        refused = self._known[0]
        if secrets.started:
            await_only(secrets.refresh())
        self._learn(self._said())
        yield from (url for url in self._known if url != refused)
        yield self._known[0]

    def _said(self) -> SecretStr | None:
        return secrets.current(self._variable) if secrets.started else None

    def _learn(self, said: SecretStr | None) -> None:
        if said is None:
            return
        try:
            url = driver_url(said)
        except ValueError as error:
            log.warning("the new address is refused", variable=self._variable, reason=str(error))
            return
        if url != self._known[0]:
            self._known = [url, self._known[0]]
