"""What runs inside a worker process of the pool: limits, warm imports, and one check at a time."""

import os
import resource
import signal
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from mindgap_data.errors import UserError
from mindgap_data.verify import Verdict, Verifier
from mindgap_data.verify.load import load_verifier

_main: dict[str, Verifier] = {}


def start(spec: str, options: Mapping[str, Any], memory_mb: int) -> None:
    """Prepare this process: called once, before its first task.

    Ctrl-C belongs to the parent; SIGTERM kills at once, even inside a long C call; allocation beyond
    ``memory_mb`` of address space fails; nothing a library prints reaches the user's terminal.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)
    sys.setrecursionlimit(3_000)
    limit = memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    verifier = load_verifier(spec, options)
    _main[spec] = verifier
    warm = getattr(verifier, "warm", None)
    if warm is not None:
        warm()


def check(spec: str, response: str, answer: str, row: Mapping[str, Any]) -> str:
    """The verdict's value; whatever a verifier raises, memory errors included, is a checker error."""
    try:
        verifier = _main.get(spec) or _by_row(spec)
        return Verdict(verifier(response, answer, row)).value
    except UserError:
        return Verdict.CHECKER_ERROR.value
    # math-verify's time-out and SystemExit are BaseExceptions; no response may end the worker through them.
    except BaseException:  # noqa: BLE001
        return Verdict.CHECKER_ERROR.value


@cache
def _by_row(spec: str) -> Verifier:
    return load_verifier(spec)
