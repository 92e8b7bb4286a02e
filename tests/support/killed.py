"""Runs a command as a process of its own, and stops it half-way."""

import os
import signal
import subprocess
import time
from pathlib import Path


def run_killed(command: list[str], journal: Path, groups: int, how: signal.Signals) -> subprocess.Popen[str]:
    """Run until the journal holds ``groups`` finished groups, then send the signal."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while process.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") > groups:
            process.send_signal(how)
            break
        time.sleep(0.01)
    return process
