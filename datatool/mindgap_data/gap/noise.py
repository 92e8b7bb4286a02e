"""The noise floor of importance weights: log-probs of the same ids by two computations of the same policy."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mindgap_data.errors import UserError
from mindgap_data.gap.figures import LEVELS
from mindgap_data.importance import level_log_weights, weight_sums
from mindgap_data.statistics import Floats

# A ratio within these bounds is what rounding is expected to do.
INSIDE = (0.9, 1.1)
NOISE_VERSION = 1


@dataclass(frozen=True)
class NoiseFloor:
    """Figures of l_t = log-prob by the trainer - stored log-prob, on a policy that has not been trained."""

    rows: int
    tokens: int
    mean: float  # nats per token
    sd: float  # nats per token
    outside: float  # share of token ratios outside [0.9, 1.1]
    largest: float  # max |l_t|
    ess: Mapping[str, float]  # level -> ESS/N of weights that are noise alone

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def noise_file(path: Path) -> Path:
    """Where `mindgap-data noise` leaves the floor of a rewritten file."""
    return path.with_name(f"{path.name}.noise.json")


def read_noise(path: Path) -> NoiseFloor:
    """The floor a `mindgap-data noise` run wrote.

    Raises:
        UserError: the file cannot be read, or is something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["version"] != NOISE_VERSION:
            raise UserError(f"{path}: version {found['version']}; this mindgap reads version {NOISE_VERSION}")
        return NoiseFloor(**found["floor"])
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a noise file; write it again with `mindgap-data noise`") from error


def noise_floor(trained: Sequence[npt.ArrayLike], stored: Sequence[npt.ArrayLike]) -> NoiseFloor:
    """Figures of l = trained - stored over some responses.

    Were the two computations exact, every l would be 0, every weight 1 and ESS/N 1 at each level. For independent
    errors of sd s a sequence weight of T tokens has ESS/N of about exp(-T s^2).

    Args:
        trained: log-probs by the trainer's forward, nats, floats [T_i] of each response.
        stored: the ones they are compared with, same shapes.

    Raises:
        ValueError: there is no response, or shapes differ.
    """
    rows = [_difference(mine, theirs) for mine, theirs in zip(trained, stored, strict=True)]
    if not rows:
        raise ValueError("there is no response to compare")
    ratio = np.concatenate(rows)
    segments = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    with np.errstate(over="ignore"):
        weight = np.exp(ratio)
    return NoiseFloor(
        rows=len(rows),
        tokens=len(ratio),
        mean=float(ratio.mean()),
        sd=float(ratio.std()),
        outside=float(np.mean((weight < INSIDE[0]) | (weight > INSIDE[1]))),
        largest=float(np.abs(ratio).max()),
        ess={level: _ess(ratio, segments, len(rows), level) for level in LEVELS},
    )


def _ess(ratio: Floats, segments: npt.NDArray[np.int64], count: int, level: str) -> float:
    """ESS/N over the level's weights: one a token, or one a response."""
    weights = level_log_weights(ratio, segments, count, level)  # type: ignore[arg-type]
    if level != "token":
        weights = weights[np.unique(segments, return_index=True)[1]]
    return float(weight_sums(weights, "none", 1.0).ess_fraction)


def _difference(trained: npt.ArrayLike, stored: npt.ArrayLike) -> Floats:
    mine, theirs = np.asarray(trained, dtype=np.float64), np.asarray(stored, dtype=np.float64)
    if mine.shape != theirs.shape or mine.ndim != 1 or not len(mine):
        raise ValueError(f"log-probs of one response must be of one length above 0, got {mine.shape}, {theirs.shape}")
    return mine - theirs
