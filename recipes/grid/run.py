"""Trains and evaluates the ablation grid, stages kept x loss, from one rewritten file; run again, it continues.

python recipes/grid/run.py out.jsonl --base recipes/grid/base.yaml --bench math500.jsonl -o runs/grid
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

from mindgap_data.errors import UserError
from mindgap_data.evaluation.compare import compare, read_evaluation
from mindgap_data.evaluation.folder import read_summary
from mindgap_data.rounds.plan import PLUGIN, STRATEGY
from mindgap_data.run.programs import run_program

DATA = {
    "expert": "expert",
    "self+expert": "self",
    "guided+expert": "guided",
    "all": "all",
}  # file -> stages of `select`
PRESETS = ("sft", "paper", "is")
# Options the grid sets itself.
OWN = ("datasets", "mindgap", "output_dir", "dataset_prepared_path")


@dataclass(frozen=True)
class Cell:
    """One run of the grid."""

    data: str  # a key of DATA
    preset: str  # one of PRESETS
    folder: Path

    @property
    def recipe(self) -> Path:
        """The generated Axolotl recipe."""
        return self.folder / "recipe.yaml"

    @property
    def model(self) -> Path:
        """What training writes: an adapter or a model."""
        return self.folder / "model"

    @property
    def evaluation(self) -> Path:
        """What evaluating it writes."""
        return self.folder / "evaluation"

    @property
    def trained(self) -> Path:
        """There once training is finished; names what it was trained with."""
        return self.folder / "trained.json"


@click.command()
@click.argument("rewritten", type=click.Path(path_type=Path))
@click.option("--base", required=True, type=click.Path(path_type=Path), help="Axolotl recipe all cells start from.")
@click.option(
    "--bench", "benchmarks", required=True, multiple=True, help="File of problems to evaluate on. Repeatable."
)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder of the grid."
)
@click.option("--data", default=",".join(DATA), show_default=True, help="Which training files.")
@click.option("--presets", default=",".join(PRESETS), show_default=True, help="Which losses.")
@click.option("--match-tokens", is_flag=True, help="Training files of the same number of trained tokens.")
@click.option("--launcher", default="accelerate", show_default=True, help="Axolotl's launcher; python on a CPU.")
@click.argument("evaluate_options", nargs=-1, type=click.UNPROCESSED)
def main(
    rewritten: Path,
    base: Path,
    benchmarks: tuple[str, ...],
    output: Path,
    data: str,
    presets: str,
    match_tokens: bool,
    launcher: str,
    evaluate_options: tuple[str, ...],
) -> None:
    """Train and evaluate every cell of {training file} x {loss}; finished cells are not run again.

    REWRITTEN is a file of `mindgap-data rewrite`. What follows -- goes to `mindgap-data evaluate`.
    The table is written after every cell, to grid.md and grid.json in the output folder.
    """
    recipe = read_base(base)
    cells = [
        Cell(name, preset, output / f"{name}-{preset}")
        for name in chosen(data, DATA, "--data")
        for preset in chosen(presets, PRESETS, "--presets")
    ]
    files = select(rewritten, output / "data", sorted({cell.data for cell in cells}), match_tokens)
    untrained = output / "untrained"
    evaluate(["--recipe", str(base)], benchmarks, untrained, evaluate_options)
    for number, cell in enumerate(cells, 1):
        click.echo(f"[{number}/{len(cells)}] {cell.data}, {cell.preset}", err=True)
        train(cell, cell_recipe(recipe, cell, files[cell.data]), launcher)
        evaluate(trained_policy(cell, recipe), benchmarks, cell.evaluation, evaluate_options)
        finished = [other for other in cells if (other.evaluation / "summary.json").exists()]
        table = results(untrained, finished)
        (output / "grid.json").write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (output / "grid.md").write_text(markdown(table), encoding="utf-8")
    click.echo((output / "grid.md").read_text(encoding="utf-8"))


def chosen(text: str, known: Sequence[str] | dict[str, str], option: str) -> list[str]:
    """The names of a comma-separated option.

    Raises:
        UserError: one is unknown.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"{option} {text}: {', '.join(unknown)} is unknown; name some of {', '.join(known)}")
    return names


def read_base(path: Path) -> dict[str, Any]:
    """The recipe all cells start from.

    Raises:
        UserError: it cannot be read, or sets what the grid sets.
    """
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: the recipe cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(recipe, dict) or not recipe.get("base_model"):
        raise UserError(f"{path}: the recipe names no base_model")
    if own := [name for name in OWN if name in recipe]:
        raise UserError(f"{path}: the grid sets {', '.join(own)} itself; remove it from the base recipe")
    return recipe


def cell_recipe(base: dict[str, Any], cell: Cell, data: Path) -> dict[str, Any]:
    """The base recipe with the cell's data, loss and folders."""
    plugins = [name for name in base.get("plugins") or [] if name != PLUGIN]
    return {
        **base,
        "plugins": [*plugins, PLUGIN],
        "datasets": [{"path": str(data.resolve()), "type": STRATEGY}],
        "mindgap": {"preset": cell.preset},
        "output_dir": str(cell.model.resolve()),
        "dataset_prepared_path": str((cell.folder / "prepared").resolve()),
    }


def select(rewritten: Path, folder: Path, names: Sequence[str], match_tokens: bool) -> dict[str, Path]:
    """The training files, cut when they are not there yet."""
    files = {name: folder / f"{name}.jsonl" for name in names}
    wanted = {"source": digest(rewritten), "match_tokens": match_tokens}
    note = folder / "source.json"
    if note.exists() and json.loads(note.read_text()) != wanted:
        raise UserError(f"{folder}: was cut from another file or with another --match-tokens; choose another -o")
    if not all(path.exists() for path in files.values()):
        # All four together, so that rows and tokens match whichever cells are run first.
        tiers = [word for stages in DATA.values() for word in ("--tiers", stages)]
        extra = ["--match-tokens"] if match_tokens else []
        command = ["mindgap-data", "select", str(rewritten), "-o", str(folder), "--overwrite", *tiers, *extra]
        run_program(command, folder.with_name("select.log"))
        note.write_text(json.dumps(wanted))
    return files


def train(cell: Cell, recipe: dict[str, Any], launcher: str) -> None:
    """Train a cell, unless it is trained already.

    Raises:
        UserError: training failed, or the folder was trained with another recipe or other data.
    """
    cell.folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(recipe, sort_keys=False)
    # The recipe names the data by path; their content is part of what was trained.
    wanted = {"recipe": text, "data": digest(Path(recipe["datasets"][0]["path"]))}
    if cell.trained.exists():
        if json.loads(cell.trained.read_text(encoding="utf-8")) != wanted:
            raise UserError(
                f"{cell.folder}: was trained with another recipe or other data; choose another -o or remove it"
            )
        return
    cell.recipe.write_text(text, encoding="utf-8")
    run_program(["axolotl", "train", str(cell.recipe), "--launcher", launcher], cell.folder / "train.log")
    cell.trained.write_text(json.dumps(wanted), encoding="utf-8")


def trained_policy(cell: Cell, base: dict[str, Any]) -> list[str]:
    """How `mindgap-data evaluate` is told the trained policy: an adapter on the base, or a model of its own."""
    adapter = (cell.model / "adapter_config.json").exists()
    return ["--recipe", str(cell.recipe), "--adapter" if adapter else "--model", str(cell.model)]


def evaluate(policy: Sequence[str], benchmarks: Sequence[str], folder: Path, options: Sequence[str]) -> None:
    """Evaluate a policy; a finished evaluation is only checked for its settings."""
    command = ["mindgap-data", "evaluate", *benchmarks, *policy, "-o", str(folder), *options]
    run_program(command, folder.with_suffix(".log"))


def results(untrained: Path, cells: Sequence[Cell]) -> dict[str, Any]:
    """Accuracy of every finished cell, and whether it really differs from the first one and the untrained model."""
    before = read_evaluation(untrained)
    first = read_evaluation(cells[0].evaluation)
    rows = []
    for cell in cells:
        after = read_evaluation(cell.evaluation)
        rows.append(
            {
                "data": cell.data,
                "loss": cell.preset,
                **figures(cell.evaluation),
                "against_untrained": compare(before, after)[-1].as_dict(),
                "against_first": compare(first, after)[-1].as_dict() if cell is not cells[0] else None,
            }
        )
    reference = {"data": cells[0].data, "loss": cells[0].preset}
    return {"untrained": figures(untrained), "first": reference, "cells": rows}


def figures(evaluation: Path) -> dict[str, Any]:
    """Accuracy by benchmark, and in all."""
    summary = read_summary(evaluation)
    benchmarks = summary["benchmarks"]
    return {
        "accuracy": (summary["average"] or benchmarks[0])["accuracy"],
        "benchmarks": {one["name"]: one["accuracy"] for one in benchmarks},
        "truncated": (summary["average"] or benchmarks[0])["shares"]["truncated"],
    }


def markdown(table: dict[str, Any]) -> str:
    """The grid as a table for people: per cent, with 95% intervals; a star where the change is real."""
    losses = list(dict.fromkeys(row["loss"] for row in table["cells"]))
    by_cell = {(row["data"], row["loss"]): row for row in table["cells"]}
    lines = [f"| training data | {' | '.join(losses)} |", f"| --- |{' --- |' * len(losses)}"]
    for data in dict.fromkeys(row["data"] for row in table["cells"]):
        texts = [shown(by_cell[data, loss]) if (data, loss) in by_cell else "" for loss in losses]
        lines.append(f"| {data} | {' | '.join(texts)} |")
    untrained, first = table["untrained"]["accuracy"], table["first"]
    lines += [
        "",
        f"Accuracy in per cent, 95% interval over problems; untrained: {percent(untrained)}.",
        f"\\* differs from the untrained model, \\+ from {first['data']} with {first['loss']} "
        "(paired bootstrap over problems, p < 0.05, each cell by itself).",
    ]
    return "\n".join(lines) + "\n"


def shown(row: dict[str, Any]) -> str:
    """One cell of the table."""
    marks = ("\\*" if row["against_untrained"]["real"] else "") + (
        "\\+" if row["against_first"] and row["against_first"]["real"] else ""
    )
    return percent(row["accuracy"]) + marks


def percent(interval: dict[str, float]) -> str:
    """An estimate and its interval."""
    estimate, low, high = (100 * interval[name] for name in ("estimate", "low", "high"))
    return f"{estimate:.1f} ({low:.1f} to {high:.1f})"


def digest(path: Path) -> str:
    """sha256 of a file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


if __name__ == "__main__":
    main()
