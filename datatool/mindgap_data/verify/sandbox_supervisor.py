"""Runs one command and leaves no process of it behind.

Standalone: executed with ``python -I -c``, standard library only.

Arguments: seconds, then the command. Exit status: 0 when the command's is 0, 124 out of time, else 1.
"""

import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def main() -> None:
    """Run the command as a child, wait for it or for the deadline, kill all its descendants."""
    seconds, command = float(sys.argv[1]), sys.argv[2:]
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # Orphans of the command become children of this process, so that none escapes by forking twice.
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = os.fork()
    if child == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        try:
            os.execvp(command[0], command)
        finally:
            os._exit(127)
    status = wait(child, time.monotonic() + seconds)
    kill_descendants()
    os._exit(124 if status is None else 0 if status == 0 else 1)


def wait(child: int, deadline: float) -> int | None:
    """The child's wait status, or None at the deadline; other children are reaped on the way."""
    while time.monotonic() < deadline:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == child:
            return status
        if pid == 0:
            time.sleep(0.005)
    return None


def descendants() -> list[int]:
    """Every process below this one."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            parents.setdefault(parent, []).append(int(name))
    found, queue = [], [os.getpid()]
    while queue:
        below = parents.get(queue.pop(), [])
        found += below
        queue += below
    return found


def kill_descendants() -> None:
    """Kill until none is left; frozen first, since a fork bomb would outrun the killing."""
    for _ in range(200):
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in descendants():
                try:
                    os.kill(pid, number)
                except OSError:
                    continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.01)


main()
