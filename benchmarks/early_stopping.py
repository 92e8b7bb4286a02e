"""Tokens drawn with early stopping against drawing every sample, on the same rows with the same seeds.

That the law of the kept response is the same is a test: tests/datatool/run/test_scheduler.py.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

PROBLEMS = Path(__file__).parents[1] / "recipes/data/word_problems.jsonl"


def drawn_tokens(output: Path, picker: str, arguments: argparse.Namespace) -> int:
    """Tokens `rewrite` drew, from its summary."""
    command = [
        *(sys.executable, "-c", "from mindgap_data.commands import main; main()"),
        *("rewrite", str(arguments.file), "-o", str(output), "--picker", picker, "--quiet", "--no-score-expert"),
        *("--limit", str(arguments.rows), "--samples", str(arguments.samples), "--batch-size", "32"),
        *("--max-tokens", str(arguments.max_tokens), "--temperature", "0.7"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    summary = json.loads(output.with_name(f"{output.name}.summary.json").read_text())
    return int(summary["drawn_tokens"])


def main() -> None:
    """Run both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, default=PROBLEMS)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--max-tokens", type=int, default=48)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        first = drawn_tokens(Path(folder) / "first.jsonl", "first", arguments)
        everything = drawn_tokens(Path(folder) / "all.jsonl", "shortest", arguments)
    print(f"first correct draw {first:,} tokens, all {arguments.samples} draws {everything:,} tokens")
    print(f"ratio {first / everything:.3f}")


if __name__ == "__main__":
    main()
