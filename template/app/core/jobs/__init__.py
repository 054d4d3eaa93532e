"""Jobs: work that is done after the answer, or at a certain time. Import what you use from here."""

from app.core.jobs.outbox import Outbox as Outbox
from app.core.jobs.port import Job as Job
from app.core.jobs.port import JobFailedError as JobFailedError
from app.core.jobs.port import enqueue as enqueue
from app.core.jobs.task import Retries as Retries
from app.core.jobs.task import task as task
