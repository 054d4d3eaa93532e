"""Redis: a help, never a reason to fail. Import what you use from here.

Most code wants `app.core.cache` (values and locks), which works whatever the answers.
"""

from app.core.redis.asking import RedisAwayError as RedisAwayError
from app.core.redis.asking import client as client
from app.core.redis.asking import link as link
