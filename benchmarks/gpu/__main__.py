"""Runs every check, prints one table, writes a JSON; exit code 1 where a figure is beyond its tolerance.

    python -m benchmarks.gpu --model FOLDER

Without a CUDA device it says so and runs the checks at toy size on the CPU. Without a model it makes a random
one, which is enough for everything but the noise floor, whose figures then mean little.
"""

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

# Before torch and transformers are imported: nothing is fetched, and one card is measured.
os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")

import torch
from benchmarks.gpu import drawing, loss_cost, loss_values, noise, report, training
from benchmarks.gpu.kit import FULL, TOY, Kit, Measure
from benchmarks.train_step import random_model

Check = Callable[[Kit], Iterator[Measure]]
CHECKS: dict[str, Check] = {
    "loss values": loss_values.run,
    "drawing": drawing.run,
    "training": training.run,
    "noise floor": noise.run,
    "loss cost": loss_cost.run,
}


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of a causal language model; default: a random one")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/gpu-check.json"))
    parser.add_argument("--minutes", type=float, default=8.0, help="no check begins later than this")
    arguments = parser.parse_args()
    if arguments.model and not (arguments.model / "config.json").exists():
        parser.error(f"--model {arguments.model}: there is no {arguments.model / 'config.json'}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    sizes = FULL if device == "cuda" else TOY
    if device == "cpu":
        print("There is no CUDA device: toy size on the CPU. It shows that the kit works, and times mean nothing.")
    with tempfile.TemporaryDirectory() as scratch:
        model = arguments.model or random_model(Path(scratch) / "random", sizes.model)
        failed = run(Kit(sizes, device, model), CHECKS, arguments.output, arguments.minutes)
    sys.exit(1 if failed else 0)


def run(kit: Kit, checks: dict[str, Check], output: Path, minutes: float) -> int:
    """Run the checks in order and report; returns the number of failures.

    The file is written after each check, so that what was measured is kept if the machine goes.
    """
    found: dict[str, list[Measure]] = {}
    seconds: dict[str, float] = {}
    began = time.perf_counter()
    for name, check in checks.items():
        start = time.perf_counter()
        found[name] = []
        if start - began > 60 * minutes:
            found[name].append(Measure("all", "all", None, note=f"{minutes:g} minutes were over"))
        else:
            print(f"{name} ...", file=sys.stderr, flush=True)
            _collect(check, kit, found[name])
        seconds[name] = time.perf_counter() - start
        report.write(output, kit, found, seconds)
    report.table(kit, found, seconds)
    failed = report.failures(found)
    print(f"{failed} failures. Figures: {output}")
    return failed


def _collect(check: Check, kit: Kit, measures: list[Measure]) -> None:
    """Keep what a check measured, and go on to the next one when it breaks."""
    try:
        measures.extend(check(kit))
    except Exception as error:  # noqa: BLE001 - whatever broke, the other checks are still worth their time
        traceback.print_exc()
        case = f"{type(error).__name__}: {error}".splitlines()[0]
        measures.append(Measure(case, "exceptions", 1.0, tolerance=0.0))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
