"""While a password is changed, the server may want the old one or the new one."""

from pydantic import SecretStr
from sqlalchemy.util import greenlet_spawn

from app.config import Settings
from app.core.database.address import PresentAddress
from app.core.database.flavours.flavour import FLAVOUR
from app.core.database.settings import driver_url
from app.core.secrets import secrets
from app.core.secrets.environment import MemoryStore

OLD, NEW = (SecretStr(f"{FLAVOUR.schemes[0]}://me:{word}@host:1/name") for word in ("old", "new"))


async def test_the_address_before_a_change_is_tried_too(settings: Settings) -> None:
    with secrets.given_by(settings):
        secrets.use(MemoryStore())
        secrets.take_up({"AN_ADDRESS": OLD})
        address = PresentAddress(driver_url(OLD), "an_address")
        assert address.newest() == driver_url(OLD)
        secrets.take_up({"AN_ADDRESS": NEW})
        assert address.newest() == driver_url(NEW)
        tried = await greenlet_spawn(lambda: list(address.others()))
    assert tried == [driver_url(OLD), driver_url(NEW)]
