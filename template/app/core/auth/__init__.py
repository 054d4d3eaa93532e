"""Who is asking, and what they may do. Import what you use from here."""

from app.core.auth.access import CurrentPrincipal as CurrentPrincipal
from app.core.auth.access import OptionalPrincipal as OptionalPrincipal
from app.core.auth.access import public as public
from app.core.auth.access import require_role as require_role
from app.core.auth.access import require_scope as require_scope
from app.core.auth.principal import Principal as Principal
