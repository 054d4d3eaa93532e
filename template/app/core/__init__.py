"""The foundation. An update replaces this package: change it through its seams, not in place."""

import gc

# What is imported stays: looking through it for garbage again and again would be a sixth of the
# start. Once all has started it is looked for more often (`app.core.application.started`).
gc.set_threshold(500_000)
