"""Ways to draw the guided tier against the paper's (the whole solution shown, a random correct draw), in one run.

Each problem the model does not solve alone goes through every way with the same seed, so ways that differ in the pick
alone choose among the same draws. What a way costs and how far its responses are from the plain prompt is printed with
bootstrap intervals over problems. A run that was interrupted goes on where it stopped.

    python benchmarks/hints.py --seeds 0 1
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from mindgap_data.gap.figures import GapFigures, Settings, gap_figures
from mindgap_data.gap.records import GapRow
from mindgap_data.gap.sums import reduce_rows
from mindgap_data.record import Record
from mindgap_data.statistics import Interval, mean_interval

PROBLEMS = Path(__file__).parents[1] / "recipes/data/word_problems.jsonl"
PAPER = "full, first"
WAYS = {
    PAPER: (),
    "full, shortest": ("--pick-guided", "shortest"),
    "full, grape": ("--pick-guided", "grape"),
    "full, sir": ("--pick-guided", "sir"),
    "answer,partial,full, first": ("--hints", "answer,partial,full"),
}


@dataclass(frozen=True)
class Way:
    """What one way gave for the problems not solved alone, over all seeds."""

    records: dict[tuple[int, str], Record]  # by seed and id; expert where it failed
    drawn: int  # tokens
    scored: int  # tokens

    @property
    def guided(self) -> list[tuple[tuple[int, str], Record]]:
        """The problems it solved."""
        return [(key, record) for key, record in self.records.items() if record.tier == "guided"]

    def figures(self) -> GapFigures | None:
        """The gap of its guided responses."""
        rows = (GapRow.of(number, record) for number, (_, record) in enumerate(self.guided, 1))
        return gap_figures(reduce_rows(rows, "truncate", 2.0), Settings())["guided"]


def main() -> None:
    """Rewrite in every way and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, default=PROBLEMS, help="rows with an id")
    parser.add_argument("--model", help="default: the built-in one")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/hints"), help="folder of the rewritten files")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    alone = Way({}, 0, 0)
    ways = {name: Way({}, 0, 0) for name in WAYS}
    for seed in arguments.seeds:
        own = rewritten(arguments, arguments.file, f"self-{seed}", seed, ("--stages", "self,expert"))
        alone = joined(alone, own, seed)
        unsolved = arguments.output / f"unsolved-{seed}.jsonl"
        write_unsolved(arguments.file, own, unsolved)
        for number, (name, options) in enumerate(WAYS.items()):
            one = rewritten(arguments, unsolved, f"way{number}-{seed}", seed, ("--stages", "guided,expert", *options))
            ways[name] = joined(ways[name], one, seed)
    Console(width=160).print(table(alone, ways))


def rewritten(arguments: argparse.Namespace, rows: Path, name: str, seed: int, options: Sequence[str]) -> Path:
    """The output of one rewriting run, made where it is not there yet."""
    output: Path = arguments.output / f"{name}.jsonl"
    if not output.exists():
        command = [
            *(sys.executable, "-c", "from mindgap_data.commands import main; main()"),
            *("rewrite", str(rows), "-o", str(output), "--seed", str(seed), "--samples", str(arguments.samples)),
            *("--max-tokens", str(arguments.max_tokens), "--temperature", "0.7", "--batch-size", "48", "--quiet"),
            *("--no-score-expert", *(("--model", arguments.model) if arguments.model else ()), *options),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return output


def write_unsolved(source: Path, own: Path, target: Path) -> None:
    """The input rows that the model did not solve alone."""
    left = {record.id for record in read(own) if record.tier == "expert"}
    lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    target.write_text("".join(line for line in lines if json.loads(line)["id"] in left), encoding="utf-8")


def joined(way: Way, output: Path, seed: int) -> Way:
    """With one more run."""
    summary = json.loads(output.with_name(f"{output.name}.summary.json").read_text(encoding="utf-8"))
    records = way.records | {(seed, record.id): record for record in read(output)}
    return Way(records, way.drawn + summary["drawn_tokens"], way.scored + summary["scored_tokens"])


def read(path: Path) -> list[Record]:
    return [Record.model_validate_json(line) for line in path.read_text(encoding="utf-8").splitlines()]


def table(alone: Way, ways: dict[str, Way]) -> Table:
    """A row a way; gaps in nats, ratios to the paper's way."""
    total, unsolved = len(alone.records), len(ways[PAPER].records)
    title = f"{total} rows, {total - unsolved} solved alone ({alone.drawn:,} tokens drawn); of the other {unsolved}:"
    shown = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in (
        *("way", "guided", "prompt gap/token", "change, same problems", "ESS/N token", "ESS/N response"),
        *("SIR ESS of correct", "tokens/response", "near copies", "drawn", "ratio", "scored"),
    ):
        shown.add_column(column, justify="left" if column == "way" else "right")
    for name, way in ways.items():
        found = way.figures()
        if found is None or found.prompt_gap is None:
            shown.add_row(name, "0")
            continue
        weights = found.weights["after"]
        shown.add_row(
            name,
            str(found.rows),
            words(found.prompt_gap.per_token, 2),
            "" if name == PAPER else words(change(way, ways[PAPER]), 2),
            words(weights["token"].ess_fraction, 3),
            words(weights["sequence"].ess_fraction, 3),
            resampling(way),
            f"{found.after.tokens / found.rows:.1f}",
            f"{sum(bool(record.attempts.near_copy) for _, record in way.guided)}",
            f"{way.drawn:,}",
            f"{way.drawn / ways[PAPER].drawn:.2f}",
            f"{way.scored:,}",
        )
    return shown


def change(way: Way, paper: Way) -> Interval:
    """Mean difference of the prompt gap per token over the problems that both ways solve."""
    theirs = {key: gap_per_token(record) for key, record in paper.guided}
    return mean_interval([gap_per_token(record) - theirs[key] for key, record in way.guided if key in theirs])


def gap_per_token(record: Record) -> float:
    """Mean of log pi_0(y_t | plain prompt) - log mu(y_t | guided prompt), nats."""
    assert record.behavior_logprobs is not None
    return float(np.mean(np.subtract(record.policy_logprobs, record.behavior_logprobs)))


def resampling(way: Way) -> str:
    """Mean effective sample size of the resampling weights, of how many correct draws."""
    found = [one for _, record in way.guided if (one := record.attempts.resampling) is not None]
    if not found:
        return ""
    ess, correct = (np.mean([one.ess for one in found]), np.mean([len(one.log_weights) for one in found]))
    return f"{ess:.2f} of {correct:.2f}"


def words(interval: Interval, digits: int) -> str:
    return f"{interval.estimate:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


if __name__ == "__main__":
    main()
