"""Time and memory of `mindgap-data gap` on a synthetic file of 100,000 rows with log-probs.

    python benchmarks/gap_scale.py [--rows 100000] [--tokens 200]

Writes the file to a temporary folder (about 10 KB a row), runs the command as a user would in a process
of its own, and prints its seconds and peak memory beside those of parsing the JSON alone.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TIERS = ("self", "guided", "expert")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--tokens", type=int, default=200, help="mean length of a response")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "synthetic.jsonl"
        write_file(path, options.rows, options.tokens)
        print(f"{options.rows:,} rows, {path.stat().st_size / 2**30:.2f} GiB, mean response {options.tokens} tokens")
        seconds, cpu, peak = measure([str(Path(sys.executable).with_name("mindgap-data")), "gap", str(path), "--json"])
        floor, floor_cpu, _ = measure(
            [sys.executable, "-c", "import sys, orjson; [orjson.loads(x) for x in open(sys.argv[1], 'rb')]", str(path)]
        )
        print(f"gap: {seconds:.1f} s ({cpu:.1f} s of CPU), peak {peak / 2**20:.0f} MiB")
        print(f"parsing the JSON alone: {floor:.1f} s ({floor_cpu:.1f} s of CPU)")


def write_file(path: Path, rows: int, mean_tokens: int) -> None:
    """A record file of ``rows`` rows: a third of each tier, expert log-probs in every row."""
    rng = np.random.default_rng(0)
    # Drawing a pool once keeps the making of the file short; rows are slices of it.
    pool = np.round(np.minimum(0, -rng.gamma(0.3, 1.5, size=2**16)), 6)
    ids = rng.integers(0, 49152, size=2**16)
    with path.open("w", encoding="utf-8") as file:
        for index in range(rows):
            file.write(json.dumps(record(index, rng, pool, ids, mean_tokens), separators=(",", ":")) + "\n")


def record(
    index: int, rng: np.random.Generator, pool: np.ndarray, ids: np.ndarray, mean_tokens: int
) -> dict[str, object]:
    length, expert_length = rng.poisson(mean_tokens, size=2) + 1
    start, expert_start = rng.integers(0, len(pool) // 2, size=2)
    tier = TIERS[index % 3]
    policy = pool[start : start + length].tolist()
    shifted = np.round(np.minimum(0, pool[start : start + length] + 0.02), 6).tolist()
    behavior = {"self": policy, "guided": shifted, "expert": None}[tier]
    row = {
        "id": f"problem-{index}",
        "messages": [
            {"role": "user", "content": "What is 2 + 3?"},
            {"role": "assistant", "content": "word " * 3 * length},
        ],
        "tier": tier,
        "response_token_ids": ids[start : start + length].tolist(),
        "behavior_logprobs": behavior,
        "policy_logprobs": policy,
        "answer": "5",
        "expert": "word " * 3 * expert_length,
        "attempts": {
            "self": {"sampled": 4, "correct": int(tier == "self")},
            "pass_rate": 0.25 if tier == "self" else 0.0,
        },
        "provenance": {
            "schema_version": 1,
            "tool_version": "0",
            "model": "synthetic",
            "engine": "transformers",
            "tokenizer": "sha256:0",
            "chat_template": "sha256:0",
            "sampling": {},
            "selection": "first",
            "verifier": "math",
            "seed": 0,
        },
    }
    if tier != "expert":
        row["expert_token_ids"] = ids[expert_start : expert_start + expert_length].tolist()
        row["expert_logprobs"] = pool[expert_start : expert_start + expert_length].tolist()
    return row


def measure(command: list[str]) -> tuple[float, float, int]:
    """Seconds, seconds of CPU and peak resident bytes of a command that must succeed."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"{command[:4]} failed")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
