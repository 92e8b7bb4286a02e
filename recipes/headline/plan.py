"""What the experiment compares, at which sizes: plan.yaml, read into typed values."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from mindgap_data.errors import UserError

PLAN = Path(__file__).with_name("plan.yaml")
DATA = ("expert", "self+expert", "guided+expert", "all")  # training files, as `mindgap-data select` names them
LOSSES = ("sft", "paper", "is")
SEARCHED = ("expert", "all")  # the files learning rates are searched on


@dataclass(frozen=True)
class Plan:
    """Sizes and settings of a run; every figure of the page follows from these and the model."""

    trained: tuple[str, ...]  # families of the training rows
    untrained: tuple[str, ...]  # families of test problems alone
    rows: int  # training rows a seed
    dev: int  # problems learning rates are chosen on, trained families
    test_trained: int
    test_untrained: int
    sampled: int  # draws a problem beside the greedy one, trained families
    seeds: tuple[int, ...]
    samples: int  # draws a problem and stage when rewriting
    temperature: float  # of rewriting and of sampled test draws
    max_tokens: int
    batch_size: int
    rates: tuple[float, ...]  # learning rates tried for each loss
    recipe: dict[str, Any]  # the Axolotl recipe all arms share

    @classmethod
    def read(cls, path: Path = PLAN) -> "Plan":
        """The plan in ``path``.

        Raises:
            UserError: it cannot be read, or names other settings than these.
        """
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise UserError(f"{path}: the plan cannot be read: {' '.join(str(error).split())}") from error
        names = {field.name for field in fields(cls)}
        if not isinstance(found, dict) or set(found) != names:
            raise UserError(f"{path}: exactly these settings are wanted: {', '.join(sorted(names))}")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in found.items()
        }
        return cls(**values)


@dataclass(frozen=True)
class Arm:
    """One trained policy: a training file, a loss, a seed of sampling and training."""

    data: str  # one of DATA
    loss: str  # one of LOSSES
    seed: int

    @property
    def name(self) -> str:
        """For people and file names."""
        return f"{self.data}-{self.loss}"

    @property
    def trained_loss(self) -> str:
        """The loss that is really trained: expert rows have the same weight under `is` and `paper`."""
        return "paper" if self.data == "expert" and self.loss == "is" else self.loss


def arms(plan: Plan) -> list[Arm]:
    """Every arm, those of the main comparisons first for every seed, then the rest seed by seed."""
    first = [Arm(data, loss, seed) for seed in plan.seeds for data in SEARCHED for loss in ("sft", "paper")]
    rest = [Arm(data, loss, seed) for seed in plan.seeds for data in reversed(DATA) for loss in LOSSES]
    return list(dict.fromkeys([*first, *rest]))
