"""Nobody signs in: everything is open, and everybody is the same."""

from app.core.auth.principal import Principal

__all__ = ["FALLBACK"]

FALLBACK: Principal | None = Principal(subject="anonymous", provider="none")
