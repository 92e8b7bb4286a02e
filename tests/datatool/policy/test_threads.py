"""Two processes on the same processors share them instead of spinning against each other."""

import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from mindgap_data.commands import main

WORK = """
import sys, time
from mindgap_data.policy.threads import share_processors
if sys.argv[1] == "shared":
    share_processors(None)
import torch
weights, rows = torch.randn(1536, 576), torch.randn(48, 576)
end, rounds = time.monotonic() + 3, 0
while time.monotonic() < end:
    torch.nn.functional.silu(torch.nn.functional.linear(rows, weights))
    rounds += 1
print(rounds)
"""


def rounds(kind: str) -> int:
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")}
    command = [sys.executable, "-c", WORK, kind]
    jobs = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    return sum(int(job.communicate()[0]) for job in jobs)


def test_two_processes_do_not_halve_each_other() -> None:
    """On two quiet processors it is twenty times as much; with processors to spare, about the same."""
    assert rounds("shared") > 0.8 * rounds("spinning")


def test_threads_sets_torchs_own(tmp_path: Path) -> None:
    import torch

    before = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    try:
        CliRunner().invoke(
            main, ["score", str(tmp_path / "none.jsonl"), "-o", str(tmp_path / "o.jsonl"), "--threads", "1"]
        )
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before[0])
        os.environ.pop("OMP_NUM_THREADS", None)
        if before[1] is not None:
            os.environ["OMP_NUM_THREADS"] = before[1]
