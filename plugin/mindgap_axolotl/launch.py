"""A user's error ends ``axolotl train`` or ``evaluate`` in one line and with exit code 2, whatever launches it.

Both commands run ``accelerate launch``, which knows no recipe and no plugin: it
answers a failed worker with a traceback of its own and exit code 1. The one thing of ours that such a
launcher loads is what torch calls at import, the entry point ``torch.backends`` in pyproject.toml.
This module is imported then, so it imports nothing heavy.
"""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

WORKER_MODULES = {"axolotl.cli.train", "axolotl.cli.evaluate"}  # what accelerate and torchrun are told to run
SECONDS_FOR_RANK_0 = 10


def quiet_launcher() -> None:
    """In the process of a launcher: leave a user's error at what the worker has said of it. Elsewhere: nothing."""
    if WORKER_MODULES.isdisjoint(sys.argv) and Path(sys.argv[0]).name != "axolotl":
        return
    report = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if _worker_exit_code(error) == 2:
            _exit(2)
        report(kind, error, trace)

    sys.excepthook = hook
    elastic = logging.getLogger("torch.distributed.elastic.multiprocessing.api")
    elastic.addFilter(lambda record: "exitcode: 2)" not in record.getMessage())


def quiet_worker() -> None:
    """In the process that trains: print a ``UserError`` that nobody catches as one line, from one rank."""
    from mindgap_data.errors import UserError

    report = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not isinstance(error, UserError):
            report(kind, error, trace)
            return
        if int(os.environ.get("LOCAL_RANK", 0)):
            time.sleep(SECONDS_FOR_RANK_0)  # The launcher ends this process when rank 0 has said the same.
        print(f"Error: {error.message}", file=sys.stderr)
        _exit(error.exit_code)

    sys.excepthook = hook


def _worker_exit_code(error: BaseException) -> int | None:
    """Exit code of the worker that failed first, if that is what the launcher's error is about."""
    if isinstance(error, subprocess.CalledProcessError):
        return error.returncode
    if type(error).__name__ == "ChildFailedError":  # of torch.distributed.elastic
        _, failure = error.get_first_failure()  # type: ignore[attr-defined]
        return int(failure.exitcode)
    return None


def _exit(code: int) -> None:
    """End at once: an exception hook cannot choose the exit code otherwise."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
