"""Vault as a source of settings: what neither the environment nor .env has is looked up there."""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import stamina
from pydantic import ModelWrapValidatorHandler, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource, SettingsError
from requests.exceptions import Timeout
from stamina import instrumentation

from app.core.secrets.port import Secret
from app.core.secrets.vault.address import VaultAddress
from app.core.secrets.vault.session import OUTAGES, PASSING, Session, session_for
from app.core.settings import AppSettings

ResultT = TypeVar("ResultT")

START_SECONDS = 8.0
"""A start without Vault ends before this, whatever the network does."""

_FROM_STORE = "from store"
_DEPLOYED = ("staging", "production")


class VaultSource(PydanticBaseSettingsSource):
    """Reads one secret whose keys are names of settings, in any case."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Not used: all values come at once."""
        raise NotImplementedError

    def __call__(self) -> dict[str, Any]:
        """Give what Vault has for the settings that no earlier source has given.

        Raises:
            SettingsError: Vault does not answer, or refuses; one line says what to do.
        """
        address = VaultAddress.model_validate(self.current_state)
        environment = self.current_state.get("environment")
        if not address.asks_vault:
            if environment in _DEPLOYED and address.vault_enabled:
                raise SettingsError(f"VAULT_ADDR is required in {environment} (see .env.example)")
            return {}
        if problem := address.login_problem():
            raise SettingsError(problem)
        session = session_for(address)
        secret = _within(START_SECONDS, session, lambda: _read(session, environment))
        found = self._fields(secret)
        return {**found, _FROM_STORE: frozenset(found)} if found else {}

    def _fields(self, secret: Secret) -> dict[str, Any]:
        # What says where Vault is cannot come from there.
        unwanted = {*VaultAddress.model_fields, "environment", *self.current_state}
        values = {name.lower(): value.get_secret_value() for name, value in secret.values.items()}
        return {
            name: self.prepare_field_value(name, field, values[name], self.field_is_complex(field))
            for name, field in self.settings_cls.model_fields.items()
            if values.get(name) and name not in unwanted
        }


class VaultSettings(VaultAddress, AppSettings):
    """Where Vault is, and everything that Vault says."""

    @classmethod
    def further_sources(cls) -> tuple[PydanticBaseSettingsSource, ...]:
        """Ask Vault after all others."""
        return (*super().further_sources(), VaultSource(cls))

    @model_validator(mode="wrap")
    @classmethod
    def _remember_source(cls, values: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        names = values.pop(_FROM_STORE, None) if isinstance(values, dict) else None
        settings = handler(values)
        if names:
            settings._from_store = names
        return settings

    def insecure(self) -> Iterator[str]:
        """Name each value that production refuses, with the mend."""
        yield from super().insecure()
        yield from self.insecure_vault()


def _read(session: Session, environment: object) -> Secret:
    retrying = stamina.retry_context(
        on=PASSING, attempts=3, timeout=START_SECONDS / 2, wait_initial=0.1, wait_jitter=0.2
    )
    try:
        with _silent_retries():
            for attempt in retrying:
                with attempt:
                    secret = session.read_own()
        if environment == "production" and session.is_root():
            raise SettingsError("VAULT_TOKEN must not be a root token: use an AppRole")
    except OUTAGES as error:
        raise SettingsError(session.explain(error)) from None
    if secret is None:
        raise SettingsError(session.explain_missing())
    return secret


@contextmanager
def _silent_retries() -> Iterator[None]:
    """Leave the log alone: the settings that say how to log are not read yet."""
    hooks = instrumentation.get_on_retry_hooks()
    instrumentation.set_on_retry_hooks(())
    try:
        yield
    finally:
        instrumentation.set_on_retry_hooks(hooks)


def _within(seconds: float, session: Session, work: Callable[[], ResultT]) -> ResultT:
    """Do something in a thread that is left behind when it takes too long.

    The time-outs of a request do not cover everything: names are looked up without one.
    """
    results: queue.SimpleQueue[ResultT | Exception] = queue.SimpleQueue()

    def put() -> None:
        try:
            results.put(work())
        except Exception as error:  # noqa: BLE001 - raised again below
            results.put(error)

    threading.Thread(target=put, daemon=True).start()
    try:
        result = results.get(timeout=seconds)
    except queue.Empty:
        raise SettingsError(session.explain(Timeout())) from None
    if isinstance(result, Exception):
        raise result
    return result
