"""Programs as steps: what a failed one leaves to read, and that a stopped run leaves none behind."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mindgap_data.errors import UserError
from mindgap_data.run.programs import run_program


def test_a_failed_program_says_where_to_look(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    with pytest.raises(UserError) as caught:
        run_program(["python", "-c", "print('out of memory'); raise SystemExit(3)"], log)
    assert caught.value.message == f"python -c failed with exit code 3; the end of {log} says: out of memory"


def test_a_program_that_is_not_installed_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        run_program(["no-such-program"], tmp_path / "log")
    assert caught.value.message == "no-such-program: not installed; run: pip install 'mindgap[axolotl]'"


def test_programs_beside_this_python_come_first_for_what_they_start_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run_program(["python", "-c", "import shutil; print(shutil.which('python'))"], log)
    assert log.read_text().strip() == str(Path(sys.executable).with_name("python"))


STEP = """
import sys
from pathlib import Path
from mindgap_data.run.programs import run_program
lock = open(sys.argv[1], "w")
import fcntl
fcntl.flock(lock, fcntl.LOCK_EX)
child = "import os, subprocess, sys; subprocess.run(['sleep', '60'])"
run_program(["python", "-c", child], Path(sys.argv[1] + ".log"), held=(lock.fileno(),))
"""


def is_held(lock: Path) -> bool:
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.parametrize(("how", "left"), [(signal.SIGINT, False), (signal.SIGKILL, True)])
def test_stopped_nothing_goes_on_and_killed_the_lock_is_held_by_what_does(
    tmp_path: Path, how: signal.Signals, left: bool
) -> None:
    lock = tmp_path / "lock"
    process = subprocess.Popen([sys.executable, "-c", STEP, str(lock)], stderr=subprocess.DEVNULL)
    children: list[int] = []
    while not children:
        assert process.poll() is None
        children = [int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        time.sleep(0.02)
    time.sleep(0.3)  # the child is past its start, and its own child is there
    process.send_signal(how)
    process.wait()
    assert is_held(lock) == left
    if left:
        os.killpg(children[0], signal.SIGKILL)
