"""What tests measure and do not judge: figures for people, in the last lines of a run."""

from collections.abc import Callable

Figure = Callable[[str], None]
"""Says a figure, with what it is of."""

FIGURE = "figure"
"""The property of a test's report that holds one."""
