"""Gathers what a run left into one small file, an arm a line, that the page is made from."""

import json
from pathlib import Path
from typing import Any

from recipes.headline.measure import read_json
from recipes.headline.plan import DATA, Plan, arms

from mindgap_data.gap.figures import GapFigures, Settings
from mindgap_data.gap.measure import measure as measure_gap


def collect(plan: Plan, folder: Path, target: Path) -> None:
    """Write the settings, searches and gaps of the run in ``folder``, and every finished arm, to ``target``."""
    results = folder / "results"
    run = {
        "kind": "run",
        **read_json(folder / "settings.json"),
        "rates": read_json(results / "rates.json"),
        "rewriting": {
            seed: tiers(results / f"rewrite-{seed}.json")
            for seed in plan.seeds
            if (results / f"rewrite-{seed}.json").exists()
        },
        "gap": {
            f"{seed}/{name}": gap(folder / f"data-{seed}" / f"{name}.jsonl")
            for seed in plan.seeds
            for name in DATA
            if (folder / f"data-{seed}" / f"{name}.jsonl").exists()
        },
    }
    found = [results / "base.json", *(results / f"arm-{arm.seed}-{arm.name}.json" for arm in arms(plan))]
    lines = [run, *({"kind": "arm", **read_json(path)} for path in found if path.exists())]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def tiers(path: Path) -> dict[str, Any]:
    """How many rows each tier got, what was drawn for them, and the seconds it took."""
    summary = read_json(path)
    return {name: summary[name] for name in ("tiers", "stages", "failed", "pass_rate", "draws", "seconds")}


def gap(data: Path) -> dict[str, dict[str, float | None]]:
    """The policy gap of a training file by tier, from the log-probs it records."""
    figures = measure_gap(data, Settings(resamples=1)).figures
    return {tier: _gap(found) for tier, found in figures.items() if found is not None}


def _gap(figures: GapFigures) -> dict[str, float | None]:
    weights = figures.weights["after"]["token"]
    return {
        "rows": figures.rows,
        "nll_expert": figures.before.nll.estimate if figures.before else None,
        "nll_chosen": figures.after.nll.estimate,
        "ess": weights.ess_fraction.estimate,
        "prompt_gap_token": figures.prompt_gap.per_token.estimate if figures.prompt_gap else None,
        "prompt_gap_response": figures.prompt_gap.per_response.estimate if figures.prompt_gap else None,
    }
