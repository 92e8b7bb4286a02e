"""The demo as a user runs it, on the built-in model: killed half-way, run again, the same bytes, all valid."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = Path(sys.executable).with_name("mindgap-data")
PROBLEMS = ROOT / "recipes/data/word_problems.jsonl"
SMALL = ["--temperature", "0.7", "--max-tokens", "48", "--samples", "2", "--limit", "10", "--batch-size", "10"]

pytestmark = pytest.mark.e2e


def rewrite(output: Path) -> list[str]:
    return [str(TOOL), "rewrite", str(PROBLEMS), "-o", str(output), *SMALL]


def test_killed_half_way_and_run_again_is_byte_identical_and_valid(tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed.jsonl", tmp_path / "killed.jsonl"
    done = subprocess.run(rewrite(undisturbed), capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert "engine transformers (" in done.stderr
    assert "pass rate" in done.stdout

    process = subprocess.Popen(rewrite(killed), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    journal = tmp_path / "killed.jsonl.journal"
    deadline = time.monotonic() + 600
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 3):
        assert process.poll() is None, "it finished before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not killed.exists()

    again = subprocess.run(rewrite(killed), capture_output=True, text=True, timeout=900, check=False)
    assert again.returncode == 0, again.stderr
    assert killed.read_bytes() == undisturbed.read_bytes()
    summary = json.loads((tmp_path / "killed.jsonl.summary.json").read_text())
    assert summary["rows"] == 10
    assert summary["requests_recalled"] > 0

    check = subprocess.run(
        [str(TOOL), "validate", str(killed), "--tokenizer", "builtin:SmolLM2-135M-Instruct"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert check.returncode == 0, check.stdout + check.stderr


def test_score_refreshes_a_rewritten_file_and_makes_records_of_plain_data(tmp_path: Path) -> None:
    plain = tmp_path / "sft.jsonl"
    plain.write_text("".join(PROBLEMS.read_text().splitlines(keepends=True)[:3]))
    scored, again = tmp_path / "scored.jsonl", tmp_path / "again.jsonl"
    for source, target in ((plain, scored), (scored, again)):
        run = subprocess.run(
            [str(TOOL), "score", str(source), "-o", str(target)],
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
    first, second = ([json.loads(line) for line in path.read_text().splitlines()] for path in (scored, again))
    assert [row["tier"] for row in first] == ["expert"] * 3
    for one, other in zip(first, second, strict=True):
        assert one["response_token_ids"] == other["response_token_ids"]
        assert one["policy_logprobs"] == pytest.approx(other["policy_logprobs"], abs=1e-5)
        assert other["provenance"]["policy"]["model"] == "builtin:SmolLM2-135M-Instruct"


def test_help_answers_without_importing_torch() -> None:
    program = (
        "import sys; sys.argv = ['mindgap-data', '--help']\n"
        "from mindgap_data.commands import main\n"
        "try:\n    main()\n"
        "finally:\n    assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
