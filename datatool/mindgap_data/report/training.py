"""Training curves from a Hugging Face trainer_state.json, with the plugin's per-tier metrics."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindgap_data.checks.training import TrainingLog
from mindgap_data.errors import UserError
from mindgap_data.record import TIERS

MAX_BYTES = 256 * 2**20
MAX_POINTS = 1000  # a curve is thinned to about this many

GROUPS = ("all", *TIERS)
# What the plugin logs by tier, as mindgap/<tier>/<name>, and the trainer itself.
TIER_METRICS = ("ess", "nll", "weight_variance", "clipped_share", "k1", "k3", "tokens")
EVAL_METRICS = ("nll", "ess")
TRAINER_METRICS = ("loss", "grad_norm", "learning_rate", "eval_loss")


@dataclass(frozen=True)
class Curve:
    """One metric over steps; ``values`` may hold NaN and infinities."""

    steps: tuple[float, ...]
    values: tuple[float, ...]


Curves = dict[str, dict[str, Curve]]  # metric -> group ("all", a tier, or "run" for the trainer's own)


@dataclass(frozen=True)
class TrainingRun:
    """What a trainer logged."""

    curves: Curves
    logs: tuple[TrainingLog, ...]  # of the training steps, without evaluations


def read_training_run(path: Path) -> TrainingRun:
    """The log of a training run.

    Raises:
        UserError: the file cannot be read or is not a trainer state.
    """
    history = _history(path)
    logs = tuple(TrainingLog.of(int(entry["step"]), entry) for entry in history if "loss" in entry)
    return TrainingRun(_curves(path, history), logs)


def _curves(path: Path, history: list[dict[str, Any]]) -> Curves:
    curves: Curves = {}
    for metric in TRAINER_METRICS:
        _add(curves, metric, "run", history, metric)
    for metric in TIER_METRICS:
        for group in GROUPS:
            _add(curves, metric, group, history, f"mindgap/{group}/{metric}")
    for metric in EVAL_METRICS:
        for group in GROUPS:
            _add(curves, f"eval_{metric}", group, history, f"eval_mindgap/{group}/{metric}")
    if not curves:
        raise UserError(f"{path}: log_history has no loss; pass the trainer_state.json of a checkpoint that has logged")
    return curves


def curves_json(curves: Curves) -> dict[str, Any]:
    """For the page: thinned, what is not finite as null."""
    return {
        metric: {
            group: [_thin(curve.steps), [_finite(value) for value in _thin(curve.values)]]
            for group, curve in groups.items()
        }
        for metric, groups in curves.items()
    }


def _history(path: Path) -> list[dict[str, Any]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: larger than {MAX_BYTES >> 20} MiB; is it a trainer_state.json?")
        state = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON; pass the trainer_state.json of a checkpoint") from error
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(history, list):
        raise UserError(f"{path}: no log_history in it; pass the trainer_state.json of a checkpoint")
    return [entry for entry in history if isinstance(entry, dict) and _is_number(entry.get("step"))]


def _add(curves: Curves, metric: str, group: str, history: list[dict[str, Any]], key: str) -> None:
    points = [(float(entry["step"]), float(entry[key])) for entry in history if _is_number(entry.get(key))]
    if points:
        steps, values = zip(*points, strict=True)
        curves.setdefault(metric, {})[group] = Curve(steps, values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _thin(values: tuple[float, ...]) -> list[float]:
    stride = max(1, math.ceil(len(values) / MAX_POINTS))
    return list(values[::stride])


def _finite(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
