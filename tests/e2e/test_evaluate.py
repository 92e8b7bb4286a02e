"""evaluate as a user runs it, on the built-in model: killed, continued, compared."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROBLEMS = Path(__file__).parents[2] / "recipes" / "data" / "word_problems.jsonl"
COMMAND = [str(Path(sys.executable).with_name("mindgap-data")), "evaluate"]
OPTIONS = ["--limit", "4", "--samples", "2", "--max-tokens", "24", "--batch-size", "4"]

pytestmark = pytest.mark.e2e


def evaluate(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env={**os.environ, "COLUMNS": "100"})
    assert done.returncode == 0, done.stderr
    return done


def kill_after_a_batch(out: Path) -> None:
    """Start the run, and kill it as soon as its journal holds something drawn."""
    process = subprocess.Popen(
        [*COMMAND, str(PROBLEMS), *OPTIONS, "-o", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    journal = out / "journal"
    deadline = time.monotonic() + 300
    while not (journal.exists() and journal.read_bytes().count(b'"group"') >= 1):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "nothing was journalled"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_killed_and_run_again_it_gives_what_an_undisturbed_run_gives(tmp_path: Path) -> None:
    evaluate(PROBLEMS, *OPTIONS, "-o", tmp_path / "whole")
    kill_after_a_batch(tmp_path / "torn")
    assert not (tmp_path / "torn" / "summary.json").exists()
    evaluate(PROBLEMS, *OPTIONS, "-o", tmp_path / "torn")
    whole, torn = ((tmp_path / name / "generations.jsonl").read_bytes() for name in ("whole", "torn"))
    assert torn == whole
    summaries = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("whole", "torn")]
    assert summaries[0]["benchmarks"] == summaries[1]["benchmarks"]
    assert [summary["recalled_draws"] for summary in summaries] == [0, 4], "what was drawn before was drawn again"
    compared = json.loads(evaluate("--compare", tmp_path / "whole", tmp_path / "torn", "--json").stdout)
    assert compared["comparisons"][0]["in_words"] == (
        "word_problems: the runs score the same on each of the 4 problems."
    )
    assert compared["caveats"] == []
