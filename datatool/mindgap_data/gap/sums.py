"""A streamed file of log-probs reduced to a few sums per row: all that any figure of the gap needs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mindgap_data.gap.records import GapRow
from mindgap_data.importance import Clip, above_ceiling, kl_k1, kl_k2, kl_k3, outside_interval
from mindgap_data.record import TIERS
from mindgap_data.statistics import Floats

# Whose weights: the expert's text (w = pi, as if the expert were certain of every token), the chosen
# response as preset `is` weighs it, and the chosen response as preset `paper` does (w = pi throughout).
SIDES = ("before", "after", "after_dft")

# Per row and side, over its tokens; `tokens` is 0 where the side has no log-probs.
SIDE = np.dtype([(name, "f8") for name in ("tokens", "log_sum", "log_sum_squares", "log_max", "clipped", "k1")])

# Token log-weights are counted in bins of this many nats; what lies outside goes to the end bins.
BIN_EDGES = np.linspace(-12.0, 4.0, 65)

# Rows are reduced in blocks of about this many tokens a side (4 MiB an array).
_BLOCK_TOKENS = 2**19


@dataclass(frozen=True)
class RowSums:
    """Per-row sums of a file of N rows."""

    tier: npt.NDArray[np.int8]  # [N], index into TIERS
    sides: dict[str, npt.NDArray[np.void]]  # side -> SIDE [N]
    known_behavior: npt.NDArray[np.bool_]  # [N], whether mu of the chosen response is known
    k2: Floats  # [N], of the chosen response's l, over its tokens
    k3: Floats  # [N]
    prompt_gap: Floats  # [N], sum of recorded policy log-prob - behaviour log-prob; 0 where unknown
    drift: Floats  # [N], sum of measured - recorded policy log-prob
    histogram: npt.NDArray[np.int64]  # [sides, tiers, bins], token log-weights

    @property
    def nll(self) -> dict[str, Floats]:
        """Summed NLL by row of the expert's text and of the chosen response, nats [N]: k1 with beta = 0."""
        return {"expert": self.sides["before"]["k1"], "chosen": self.sides["after_dft"]["k1"]}


def reduce_rows(rows: Iterable[GapRow], clip: Clip, clip_max: float) -> RowSums:
    """Sums per row; memory is a few hundred bytes a row, whatever the rows' lengths."""
    blocks = [_reduce_block(block, clip, clip_max) for block in _blocks(rows)] or [_reduce_block([], clip, clip_max)]
    return RowSums(
        tier=np.concatenate([block.tier for block in blocks]),
        sides={side: np.concatenate([block.sides[side] for block in blocks]) for side in SIDES},
        known_behavior=np.concatenate([block.known_behavior for block in blocks]),
        k2=np.concatenate([block.k2 for block in blocks]),
        k3=np.concatenate([block.k3 for block in blocks]),
        prompt_gap=np.concatenate([block.prompt_gap for block in blocks]),
        drift=np.concatenate([block.drift for block in blocks]),
        histogram=np.sum([block.histogram for block in blocks], axis=0),
    )


def _blocks(rows: Iterable[GapRow]) -> Iterable[list[GapRow]]:
    block: list[GapRow] = []
    tokens = 0
    for row in rows:
        block.append(row)
        tokens += len(row.chosen)
        if tokens >= _BLOCK_TOKENS:
            yield block
            block, tokens = [], 0
    if block:
        yield block


def _reduce_block(rows: Sequence[GapRow], clip: Clip, clip_max: float) -> RowSums:
    tier = np.array([TIERS.index(row.tier) for row in rows], dtype=np.int8)
    log_weights: dict[str, list[Floats | None]] = {
        "before": [row.expert for row in rows],
        "after": [row.is_log_ratio for row in rows],
        "after_dft": [row.chosen for row in rows],
    }
    return RowSums(
        tier=tier,
        sides={side: _side_sums(values, clip, clip_max) for side, values in log_weights.items()},
        known_behavior=np.array([row.behavior is not None for row in rows], dtype=bool),
        k2=_per_row(log_weights["after"], kl_k2),
        # An infinite sum would make every resample NaN, those without the row too.
        k3=np.minimum(_per_row(log_weights["after"], kl_k3), 1e300),
        prompt_gap=np.array(
            [0.0 if row.behavior is None else np.sum(row.recorded - row.behavior) for row in rows], dtype=np.float64
        ),
        drift=np.array([np.sum(row.chosen - row.recorded) for row in rows], dtype=np.float64),
        histogram=np.stack([_histogram(log_weights[side], tier) for side in SIDES]),
    )


def _side_sums(values: Sequence[Floats | None], clip: Clip, clip_max: float) -> npt.NDArray[np.void]:
    """SIDE sums [N] of per-row token log-weights; rows that are None stay 0."""
    sums = np.zeros(len(values), dtype=SIDE)
    present = [index for index, value in enumerate(values) if value is not None]
    arrays = [value for value in values if value is not None]
    if not arrays:
        return sums
    flat = np.concatenate(arrays)
    lengths = np.array([len(array) for array in arrays])
    starts = np.cumsum(lengths) - lengths

    def total(array: Floats) -> Floats:
        return np.add.reduceat(array, starts)

    top = np.maximum.reduceat(flat, starts)
    scaled = np.exp(flat - np.repeat(top, lengths))
    sums["tokens"][present] = lengths
    sums["log_max"][present] = top
    sums["log_sum"][present] = np.log(total(scaled)) + top
    sums["log_sum_squares"][present] = np.log(total(scaled * scaled)) + 2 * top
    sums["clipped"][present] = total(changed_by_clip(flat, clip, clip_max))
    sums["k1"][present] = total(kl_k1(flat))
    return sums


def _per_row(values: Sequence[Floats | None], estimator: Callable[[Floats], Floats]) -> Floats:
    """Sum of a token's KL estimator over each row's tokens [N]; every row has some."""
    arrays = [value for value in values if value is not None]
    if not arrays:
        return np.zeros(0)
    lengths = np.array([len(array) for array in arrays])
    with np.errstate(over="ignore"):
        return np.add.reduceat(estimator(np.concatenate(arrays)), np.cumsum(lengths) - lengths)


def changed_by_clip(log_weight: Floats, clip: Clip, clip_max: float) -> Floats:
    """1.0 where the clip changes the weight, else 0.0 [N]."""
    if clip == "none":
        return np.zeros_like(log_weight)
    changed: Floats = (above_ceiling if clip == "truncate" else outside_interval)(log_weight, clip_max)
    return changed


def _histogram(values: Sequence[Floats | None], tier: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
    """Counts [tiers, bins] of token log-weights."""
    counts = np.zeros((len(TIERS), len(BIN_EDGES) - 1), dtype=np.int64)
    width = BIN_EDGES[1] - BIN_EDGES[0]
    for index in range(len(TIERS)):
        arrays = [value for value, of in zip(values, tier, strict=True) if value is not None and of == index]
        if arrays:
            bins = np.floor((np.concatenate(arrays) - BIN_EDGES[0]) / width).clip(0, counts.shape[1] - 1)
            counts[index] = np.bincount(bins.astype(np.int64), minlength=counts.shape[1])
    return counts
