from datetime import timedelta
from uuid import UUID

from httpx2 import AsyncClient

from app.core.database import utc_now
