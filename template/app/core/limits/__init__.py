"""How often somebody may ask. Import what you use from here."""

from app.core.limits.limiter import rate_limit as rate_limit
from app.core.limits.limiter import unlimited as unlimited
