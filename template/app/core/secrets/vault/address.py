"""How Vault is reached: the fields of the settings that Vault itself cannot hold."""

import ipaddress
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from app.core.secrets.vault.place import DEFAULT_MOUNT, DEFAULT_PATH

_KNOWN_TOKENS = frozenset({"dev", "dev-only-token", "development", "myroot", "root", "token"})


def _checked_address(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
        raise ValueError("must be an address such as https://vault.example.com:8200")
    if parts.username or parts.password:
        raise ValueError("must not carry a login")
    return address.rstrip("/")


def _checked_path(path: str) -> str:
    if any(part in {"", ".", ".."} for part in path.split("/")):
        raise ValueError("must be names with single slashes between them")
    return path


Path = Annotated[str, AfterValidator(_checked_path)]


class VaultAddress(BaseModel):
    """Where Vault is, who we are there, and what to read."""

    vault_enabled: bool = Field(
        True, description="false in an emergency: everything comes from the environment"
    )
    vault_addr: Annotated[str, AfterValidator(_checked_address)] | None = Field(
        None, description="Address of Vault; without one the environment is the only source"
    )
    vault_token: SecretStr | None = Field(None, description="Token: the simplest way to log in")
    vault_role_id: str | None = Field(None, description="AppRole: who we are")
    vault_secret_id: SecretStr | None = Field(None, description="AppRole: the proof of it")
    vault_k8s_role: str | None = Field(None, description="Kubernetes: the role of our account")
    vault_k8s_token_path: str = Field(
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
        description="Kubernetes: where the token of our account is",
    )
    vault_auth_mount: Path | None = Field(
        None, description="Where the login method is mounted, when not at its usual name"
    )
    vault_mount: Path = Field(DEFAULT_MOUNT, description="Where the KV engine (v2) is mounted")
    vault_path: Path = Field(DEFAULT_PATH, description="The secret whose keys are our settings")
    vault_namespace: str | None = Field(None, description="Namespace (Vault Enterprise, HCP)")
    vault_ca_file: str | None = Field(None, description="Certificates that sign Vault's own")
    vault_timeout: float = Field(
        2.0, gt=0, le=5, description="Seconds to wait for an answer of Vault"
    )
    vault_refresh_seconds: float = Field(
        60.0, gt=0, allow_inf_nan=False, description="Seconds after which changes are looked for"
    )

    @property
    def asks_vault(self) -> bool:
        """Whether Vault is asked at all."""
        return self.vault_enabled and self.vault_addr is not None

    def login_problem(self) -> str | None:
        """Say what is wrong with the way to log in, if anything is."""
        approle = bool(self.vault_role_id), bool(self.vault_secret_id)
        if any(approle) and not all(approle):
            return "VAULT_ROLE_ID and VAULT_SECRET_ID go together"
        ways = (self.vault_token is not None, any(approle), bool(self.vault_k8s_role))
        if sum(ways) == 1:
            return None
        wanted = "VAULT_TOKEN, VAULT_ROLE_ID with VAULT_SECRET_ID, or VAULT_K8S_ROLE"
        return f"exactly one way to log in to Vault is required: {wanted}"

    def insecure_vault(self) -> Iterator[str]:
        """Name each value that production refuses, with the mend."""
        if self.vault_addr and not _is_private(self.vault_addr):
            yield "VAULT_ADDR must be https:// (http:// is for this machine only)"
        if self.vault_token and self.vault_token.get_secret_value().lower() in _KNOWN_TOKENS:
            yield "VAULT_TOKEN must not be that of a development server"


def _is_private(address: str) -> bool:
    parts = urlsplit(address)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
