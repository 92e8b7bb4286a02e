"""A sandbox for programs nobody has read: namespaces where the machine gives them, limits everywhere.

Three kinds of isolation, the first that works here being used:

``bubblewrap``  no network, no other processes in sight, no file of the host but the interpreter's and the
                system's libraries, read-only; a scratch directory in memory, of bounded size.
``namespaces``  (util-linux ``unshare``) no network, no other processes in sight; but the program sees the
                host's files with the rights of the user, and writes wherever that user may.
``limits``      the network is open as well, and processes of the same user can be signalled.

In all three: a process group of its own with everything below it killed at the end, limits on CPU time,
wall time, memory, file size, open files and processes, an empty environment, a scratch directory, no
core dumps. Run as root, the program gets a user id of its own, with no rights to anything of root's.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from mindgap_data.errors import UserError

Isolation = Literal["bubblewrap", "namespaces", "limits"]
ISOLATIONS: tuple[Isolation, ...] = ("bubblewrap", "namespaces", "limits")
MAX_OUTPUT = 4 * 2**20
# User ids nobody has; one for each sandbox alive, so that they cannot signal one another.
FIRST_UID = 61_000_000
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}


@dataclass(frozen=True)
class Limits:
    """What a program may use."""

    seconds: float = 10.0  # wall time; CPU time is limited to the next whole second
    memory_mb: int = 1024  # address space of each process
    processes: int = 32  # and threads
    file_mb: int = 16  # a file it writes; also all of the scratch directory in bubblewrap
    open_files: int = 64


@dataclass(frozen=True)
class ProgramEnd:
    """How a program ended."""

    status: Literal["ended", "failed", "time"]  # exit code 0, any other, out of time
    output: bytes  # what it wrote to standard output, at most MAX_OUTPUT


@cache
def strongest_isolation() -> Isolation:
    """The strongest isolation that works on this machine, tried out once a process."""
    return next(isolation for isolation in ISOLATIONS if works(isolation))


@cache
def works(isolation: Isolation) -> bool:
    """Whether a program can be started under this isolation here."""
    with tempfile.TemporaryDirectory(prefix="mindgap-") as scratch:
        try:
            return _run(["/bin/sh", "-c", "echo up"], b"", Limits(), isolation, Path(scratch)).output == b"up\n"
        except (OSError, UserError):
            return False


def run(
    command: Sequence[str], stdin: bytes, program: str, name: str, limits: Limits, isolation: Isolation
) -> ProgramEnd:
    """Run ``command`` in a fresh scratch directory in which ``program`` is the file ``name``.

    Args:
        command: absolute path of an interpreter and its arguments; "{file}" stands for the program's path.
        stdin: what it reads.
        program: text of the program.
        name: file name.
        limits: what it may use.
        isolation: which sandbox.

    Raises:
        OSError: the sandbox itself could not be started.
    """
    with tempfile.TemporaryDirectory(prefix="mindgap-", ignore_cleanup_errors=True) as scratch:
        (Path(scratch) / "source").mkdir()
        source = Path(scratch) / "source" / name
        source.write_text(program, encoding="utf-8", errors="surrogatepass")
        place = f"/source/{name}" if isolation == "bubblewrap" else str(source)
        return _run([part.replace("{file}", place) for part in command], stdin, limits, isolation, Path(scratch))


def interpreter(name: str, isolation: Isolation) -> str:
    """Absolute path of an interpreter that can be run in the sandbox.

    Raises:
        UserError: it is not installed, or, run as root, not readable for other users.
    """
    candidates = [sys.executable] if name == "python" else []
    candidates += [path for path in (shutil.which(n) for n in ({"python": "python3"}.get(name, name),)) if path]
    candidates += [f"/usr/bin/{'python3' if name == 'python' else name}"]
    for path in candidates:
        if os.path.exists(path) and (isolation == "bubblewrap" or os.geteuid() != 0 or _readable_by_all(path)):
            return path
    raise UserError(
        f"verifier 'code': no interpreter {name!r} that the sandbox can run; install it, or bubblewrap when root"
    )


def _run(command: list[str], stdin: bytes, limits: Limits, isolation: Isolation, scratch: Path) -> ProgramEnd:
    uid = FIRST_UID + os.getpid() % 1_000_000 if os.geteuid() == 0 else None
    work = scratch / "work"
    work.mkdir()
    _open_to(scratch, uid)
    python = interpreter("python", isolation)
    limiter = [python, "-I", "-c", _script("sandbox_limits.py"), _limits_json(limits, uid, isolation), *command]
    wrapped = [*_wrapper(isolation, scratch, limits, python, command[0]), *limiter]
    supervisor = [sys.executable, "-I", "-c", _script("sandbox_supervisor.py"), str(limits.seconds), *wrapped]
    output = scratch / "output"
    with output.open("wb") as sink:
        process = subprocess.Popen(
            supervisor,
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=subprocess.DEVNULL,
            cwd=work,
            env={**_ENVIRONMENT, "HOME": str(work), "TMPDIR": str(work)},
            start_new_session=True,
            close_fds=True,
        )
        try:
            process.communicate(stdin, timeout=limits.seconds + 10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    with output.open("rb") as written:
        text = written.read(MAX_OUTPUT)
    status = {0: "ended", 124: "time"}.get(process.returncode, "failed")
    return ProgramEnd(status, text)  # type: ignore[arg-type]


def _wrapper(isolation: Isolation, scratch: Path, limits: Limits, *programs: str) -> list[str]:
    """The command that puts the rest of the command line under the isolation."""
    if isolation == "limits":
        return []
    if isolation == "namespaces":
        unshare = shutil.which("unshare")
        if unshare is None:
            raise FileNotFoundError("unshare")
        user = [] if os.geteuid() == 0 else ["--user", "--map-current-user"]
        return [unshare, *user, "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child"]
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise FileNotFoundError("bwrap")
    # As root the user namespace would have one user only, and the program is to be another than root.
    space = ["--unshare-all"]
    if os.geteuid() == 0:
        space = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
        space += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    needed = _needed(programs)
    # bwrap makes missing parents for their owner only, and the program is another user.
    parents = sorted({str(parent) for path in needed for parent in Path(path).parents} - {"/", "/tmp"})
    binds = [part for path in parents for part in ("--perms", "0755", "--dir", path)]
    binds += [part for path in needed for part in ("--ro-bind-try", path, path)]
    size = str(limits.file_mb * 2**20)
    return [
        bwrap, *space, "--die-with-parent", "--new-session", "--clearenv",
        *(part for name, value in _ENVIRONMENT.items() for part in ("--setenv", name, value)),
        "--setenv", "HOME", "/tmp",
        # First, since an interpreter may live below the host's /tmp.
        "--perms", "1777", "--size", size, "--tmpfs", "/tmp",
        *binds, "--proc", "/proc", "--dev", "/dev",
        "--perms", "1777", "--size", "65536", "--tmpfs", "/dev/shm",
        "--ro-bind-try", str(scratch / "source"), "/source", "--chdir", "/tmp", "--",
    ]  # fmt: skip


def _needed(programs: Sequence[str]) -> list[str]:
    """What of the host the sandbox shows: system libraries, and where the interpreters live."""
    system = ["/usr", "/bin", "/lib", "/lib32", "/lib64", "/etc/alternatives", "/etc/ld.so.cache"]
    own = [sys.prefix, sys.base_prefix] if sys.executable in programs else []
    others = [str(Path(program).resolve().parent) for program in programs if not program.startswith(("/usr/", "/bin/"))]
    return list(dict.fromkeys([*system, *own, *others]))


def _limits_json(limits: Limits, uid: int | None, isolation: Isolation) -> str:
    processes = limits.processes
    if isolation == "limits" and uid is None:
        processes += _own_tasks()
    return json.dumps(
        {
            "rlimits": {
                "RLIMIT_CPU": int(limits.seconds) + 1,
                "RLIMIT_AS": limits.memory_mb * 2**20,
                "RLIMIT_FSIZE": limits.file_mb * 2**20,
                "RLIMIT_NOFILE": limits.open_files,
                "RLIMIT_NPROC": processes,
                "RLIMIT_CORE": 0,
            },
            "uid": uid,
        }
    )


def _own_tasks() -> int:
    """Processes and threads of this user: RLIMIT_NPROC counts them all."""
    count = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                if entry.stat().st_uid == os.getuid():
                    count += len(os.listdir(f"/proc/{entry.name}/task"))
            except OSError:
                continue
    return count


def _open_to(scratch: Path, uid: int | None) -> None:
    """Give the program its working directory and let it read its source."""
    if uid is None:
        return
    scratch.chmod(0o711)
    os.chown(scratch / "work", uid, uid)
    if (scratch / "source").exists():
        (scratch / "source").chmod(0o755)
        for file in (scratch / "source").iterdir():
            file.chmod(0o644)


def _readable_by_all(path: str) -> bool:
    """Whether any user can run the program: every directory on its way, and of its library, lets all in."""
    real = Path(path).resolve()
    ways = [real, *real.parents, *Path(path).absolute().parents]
    return all(way.stat().st_mode & 0o001 for way in ways)


@cache
def _script(name: str) -> str:
    return (files("mindgap_data.verify") / name).read_text(encoding="utf-8")
