"""The Slurm recipe as written, by plain bash and as jobs of an array: the parts merge into one file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tiny import save_tiny_model

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "recipes" / "slurm" / "rewrite.sh"


def test_an_array_of_jobs_and_plain_bash_rewrite_the_same_rows(tmp_path: Path) -> None:
    model, source = save_tiny_model(tmp_path / "model"), tmp_path / "in.jsonl"
    rows = [{"id": f"p{n}", "problem": f"{n} + {n}?", "solution": f"\\boxed{{{2 * n}}}"} for n in range(10)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["--model", str(model), "--max-tokens", "8", "--samples", "1", "--quiet"]
    bin_folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}

    def run(folder: str, **variables: str) -> None:
        command = [str(SCRIPT), str(source), str(tmp_path / folder), *options]
        subprocess.run(command, env={**environment, **variables}, check=True, timeout=600, stdout=subprocess.DEVNULL)

    run("bash", PARTS="2")
    for job in ("2", "1", "2"):  # in any order, one of them requeued
        run("array", SLURM_ARRAY_TASK_ID=job, SLURM_ARRAY_TASK_COUNT="2")
    for folder in ("bash", "array"):
        parts = [str(tmp_path / folder / f"part-{n}-of-2.jsonl") for n in (1, 2)]
        output = str(tmp_path / f"{folder}.jsonl")
        subprocess.run([str(bin_folder / "mindgap-data"), "merge", str(source), *parts, "-o", output], check=True)
    merged = (tmp_path / "array.jsonl").read_text()
    assert merged == (tmp_path / "bash.jsonl").read_text()
    assert [json.loads(line)["id"] for line in merged.splitlines()] == [row["id"] for row in rows]
