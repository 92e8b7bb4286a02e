"""Programs of this Python's environment as steps of a longer run: logged, and stopped with it."""

import os
import signal
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from mindgap_data.errors import UserError

PATIENCE = 30.0  # seconds that a program has to end by itself when it is stopped


def run_program(command: Sequence[str], log: Path, held: Collection[int] = ()) -> None:
    """Run a program to its end, its output appended to ``log``; when this process is stopped, so is all it started.

    Args:
        command: the program's name and arguments. It is looked for beside this Python first, and so is what it starts.
        log: file for its output.
        held: file descriptors, of locks for instance, that stay open as long as it runs, whatever happens to us.

    Raises:
        UserError: it failed, or is not installed; says what the log ends with.
    """
    beside = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{beside}{os.pathsep}{os.environ.get('PATH', '')}"}
    program = str(beside / command[0]) if (beside / command[0]).exists() else command[0]
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("ab") as file:
            process = subprocess.Popen(
                [program, *command[1:]],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                pass_fds=held,
            )
    except FileNotFoundError as error:
        raise UserError(f"{command[0]}: not installed; run: pip install 'mindgap[axolotl]'") from error
    try:
        code = process.wait()
    except BaseException:
        _stop(process)
        raise
    if code:
        raise UserError(
            f"{' '.join(command[:2])} failed with exit code {code}; the end of {log} says: {last_line(log)}"
        )


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a program and what it started: the leader of a session is that of a process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(PATIENCE)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
