"""Secrets. Import what you use from here."""

from app.core.secrets.oauth import OAuthClient as OAuthClient
from app.core.secrets.oauth import oauth_client as oauth_client
from app.core.secrets.port import Secret as Secret
from app.core.secrets.port import SecretConflictError as SecretConflictError
from app.core.secrets.port import SecretsUnavailableError as SecretsUnavailableError
from app.core.secrets.port import secrets as secrets
