"""Finding the tasks of the service."""

from app.core.discovery import import_submodules
from app.core.jobs.outbox import OUTBOXES
from app.core.jobs.task import TASKS


def find_tasks() -> None:
    """Import all modules of jobs, and check what their tasks need.

    Raises:
        RuntimeError: a task is to be done once, and its database has no outbox.
    """
    import_submodules("app.models")
    import_submodules("app.jobs")
    own = [task for task in TASKS.values() if task.function.__module__.startswith("app.")]
    for task in own:  # tests may have others, with an outbox that comes and goes
        if task.once and task.database not in OUTBOXES:
            raise RuntimeError(
                f"the task {task.name!r} is to be done once, so the {task.database.name} needs an"
                " `Outbox`: see app/core/jobs/outbox.py"
            )
