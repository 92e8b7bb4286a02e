"""What every check is given, and what it gives: the sizes, the device, and measures with their verdicts."""

import math
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Sizes:
    """How much each check computes."""

    name: str
    vocabulary: int
    hidden: tuple[int, ...]  # of the loss's values
    tokens: int  # of the loss's values
    cost_hidden: tuple[int, ...]
    cost_tokens: int
    repeats: int  # of each timing; the median counts
    slots: tuple[int, ...]
    draw_tokens: int  # cap of a draw
    compared: int  # draws compared with an independent forward, and for the noise floor
    train_rows: int  # a step
    train_tokens: int  # a row, half of them trained
    train_steps: int
    model: dict[str, Any]  # of the random Llama that takes the place of a model


FULL = Sizes(
    name="full",
    vocabulary=151_936,
    hidden=(896, 2_048, 4_096),
    tokens=256,
    cost_hidden=(896, 4_096),
    cost_tokens=4_096,
    repeats=5,
    slots=(1, 16, 64, 256),
    draw_tokens=128,
    compared=32,
    train_rows=4,
    train_tokens=1_024,
    train_steps=12,
    # The shape of Qwen2.5-0.5B.
    model={
        "vocab_size": 151_936,
        "hidden_size": 896,
        "intermediate_size": 4_864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
    },
)
TOY = Sizes(
    name="toy",
    vocabulary=1_031,
    hidden=(16, 24),
    tokens=96,
    cost_hidden=(32,),
    cost_tokens=256,
    repeats=3,
    slots=(2, 8),
    draw_tokens=16,
    compared=8,
    train_rows=2,
    train_tokens=64,
    train_steps=4,
    model={
        "vocab_size": 1_031,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "initializer_range": 0.2,
    },
)


@dataclass(frozen=True)
class Kit:
    """What a check is given."""

    sizes: Sizes
    device: str  # cuda or cpu
    model: Path  # a folder

    @property
    def dtype(self) -> str:
        """What drawing and training run in: a CPU has no fast bfloat16."""
        return "bfloat16" if self.device == "cuda" else "float32"


@dataclass(frozen=True)
class Measure:
    """One figure of one case, or why there is none."""

    case: str
    figure: str
    value: float | None
    unit: str = ""
    tolerance: float | None = None  # the value must be at most this; None: nothing to pass
    note: str = ""  # why there is no value

    @property
    def verdict(self) -> str:
        """ "ok" or "FAIL" of a figure with a tolerance (NaN fails), "not run", or "" of a mere figure."""
        if self.value is None:
            return "not run"
        if self.tolerance is None:
            return ""
        return "ok" if self.value <= self.tolerance else "FAIL"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        value = self.value if self.value is None or math.isfinite(self.value) else None
        return {**asdict(self), "value": value, "verdict": self.verdict}


def missing(package: str, device: str) -> str:
    """Why a package of CUDA kernels cannot be measured; empty where it can."""
    if find_spec(package) is None:
        return "not installed"
    return "" if device == "cuda" else "needs CUDA"
