"""Weight metrics against float64 numpy, over micro-batches and ranks."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from mindgap_axolotl.metrics import WeightMetrics
from mindgap_data.errors import UserError
from mindgap_loss.loss import LossOutput
from mindgap_loss.options import LossOptions
from mindgap_loss.weights import TokenFields, TokenValues, token_log_weights, token_weights

OPTIONS = LossOptions()


def micro_batch(seed: int, count: int, tiers: int = 3) -> tuple[LossOutput, TokenFields]:
    generator = torch.Generator().manual_seed(seed)
    p, beta = (-torch.rand(count, generator=generator) * 3 for _ in range(2))
    tier = torch.arange(count) % tiers if count else torch.zeros(0, dtype=torch.int64)
    behavior = torch.where(tier == 2, torch.nan, beta)
    fields = TokenFields(tier, behavior, beta - 0.1, torch.zeros(count, dtype=torch.int64))
    raw = token_log_weights(TokenValues(p), fields, OPTIONS)
    return LossOutput(torch.zeros(()), p, raw, token_weights(raw, fields, OPTIONS)), fields


def wanted(parts: list[tuple[LossOutput, TokenFields]]) -> dict[str, float]:
    p = np.concatenate([output.log_probs.double().numpy() for output, _ in parts])
    w = np.exp(np.concatenate([output.log_weights.double().numpy() for output, _ in parts]))
    tier = np.concatenate([fields.tier.numpy() for _, fields in parts])
    found: dict[str, float] = {}
    for name, here in {"self": tier == 0, "guided": tier == 1, "expert": tier == 2, "all": tier >= 0}.items():
        if here.any():
            n = here.sum()
            found |= {
                f"mindgap/{name}/ess": w[here].sum() ** 2 / (w[here] ** 2).sum() / n,
                f"mindgap/{name}/weight_mean": w[here].mean(),
                f"mindgap/{name}/weight_variance": w[here].var(),
                f"mindgap/{name}/weight_max": w[here].max(),
                f"mindgap/{name}/clipped_share": (w[here] > 2).sum() / n,
                f"mindgap/{name}/nll": -p[here].mean(),
                f"mindgap/{name}/tokens": n,
            }
    return found


def take(parts: list[tuple[LossOutput, TokenFields]], gather: Any = lambda values: values) -> dict[str, float]:
    metrics = WeightMetrics(OPTIONS)
    for output, fields in parts:
        metrics.add(output, fields)
    return metrics.take(gather)


@pytest.mark.parametrize("sizes", [[30], [7, 1, 22], [5, 0, 6]])
def test_micro_batches_add_up(sizes: list[int]) -> None:
    parts = [micro_batch(seed, size) for seed, size in enumerate(sizes)]
    logs = take(parts)
    assert {name: logs[name] for name in wanted(parts)} == pytest.approx(wanted(parts), rel=1e-5)


def test_ranks_add_up_also_where_one_has_nothing() -> None:
    ranks = [[micro_batch(0, 9)], [micro_batch(1, 14)], []]
    tensors: list[torch.Tensor] = []

    def record(values: torch.Tensor) -> torch.Tensor:
        tensors.append(values)
        return values

    for parts in ranks:
        take(parts, record)
    logs = WeightMetrics(OPTIONS).take(lambda _: torch.cat(tensors))
    together = wanted([part for parts in ranks for part in parts])
    assert {name: logs[name] for name in together} == pytest.approx(together, rel=1e-5)


def test_a_tier_without_tokens_is_not_logged() -> None:
    assert {name.split("/")[1] for name in take([micro_batch(0, 9, tiers=1)])} == {"self", "all"}
    assert take([micro_batch(0, 0)]) == {}


def test_taking_starts_anew_and_prefixes() -> None:
    metrics = WeightMetrics(OPTIONS)
    metrics.add(*micro_batch(0, 9))
    assert "eval_mindgap/self/ess" in metrics.take(lambda values: values, prefix="eval_")
    assert metrics.take(lambda values: values) == {}


def test_kl_of_rows_without_log_probs_is_left_out() -> None:
    output, fields = micro_batch(0, 9, tiers=1)
    plain = TokenFields(fields.tier + 2, fields.behavior * math.nan, fields.policy * math.nan, fields.sample)
    raw = token_log_weights(TokenValues(output.log_probs), plain, OPTIONS)
    logs = take([(LossOutput(output.loss, output.log_probs, raw, raw.exp()), plain)])
    assert "mindgap/expert/nll" in logs
    assert "mindgap/expert/k1" not in logs


def test_a_nan_weight_is_an_error() -> None:
    output, fields = micro_batch(0, 3)
    broken = LossOutput(output.loss, output.log_probs, output.log_weights * math.nan, output.weights)
    with pytest.raises(UserError) as error:
        take([(broken, fields)])
    assert error.value.message == (
        "an importance weight of the self tier is NaN: the model diverged (lower the learning rate, train in bfloat16 "
        "rather than float16), or something moved the rows' log-probs after encoding"
    )
