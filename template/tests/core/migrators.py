"""Several migrators at the same moment: `python -m tests.core.migrators 5`.

They are forked, so that all begin at once and the code is imported one time for all of them.
"""

import os
import sys
import traceback

from app.core.migrate import main


def fork() -> int:
    """Start one, and give its process id."""
    if process := os.fork():
        return process
    try:
        main()
    except BaseException:  # noqa: BLE001 - nothing may go on in this process
        traceback.print_exc()
        code = 1
    else:
        code = 0
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    processes = [fork() for _ in range(int(sys.argv[1]))]
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
    sys.exit(max(map(abs, codes)))
