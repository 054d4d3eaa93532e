"""What the service does besides arq."""

from datetime import UTC, datetime, timedelta

import pytest
from arq import Retry

from app.config import Settings
from app.core.jobs.backends.arq import ArqQueue
from app.core.jobs.message import Message
from app.core.redis import link


async def test_a_job_that_comes_too_early_comes_again(settings: Settings) -> None:
    """It is not sent again: arq takes none of an id that it has, so it would be lost."""
    due = datetime.now(UTC) + timedelta(hours=1)
    message = Message(id="a", task="early", arguments={}, not_before=due)
    async with link.established(settings):
        with pytest.raises(Retry) as raised:
            await ArqQueue(settings).perform({}, message.model_dump(mode="json"))
    assert raised.value.defer_score is not None
    assert 3_500_000 < raised.value.defer_score <= 3_600_000
