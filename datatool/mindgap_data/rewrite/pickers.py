"""Which of a stage's correct draws is kept: the first, the shortest, the likeliest, or one by importance resampling."""

from collections.abc import Sequence
from hashlib import blake2b
from math import fsum
from typing import Literal

import numpy as np

from mindgap_data.importance import logsumexp, weight_sums
from mindgap_data.record import Resampling
from mindgap_data.rewrite.records import Response

Picker = Literal["first", "grape", "shortest", "sir"]
# Those that need the policy log-probs of every correct draw.
SCORING: tuple[Picker, ...] = ("grape", "sir")


def selection_name(picker: Picker, power: float) -> str:
    """A picker as provenance names it: "sir", or "sir:0.5" where the weights are tempered."""
    return f"sir:{power:g}" if picker == "sir" and power != 1 else picker


def pick(picker: Picker, candidates: Sequence[Response]) -> Response:
    """The kept one of the correct draws, in the order in which they were drawn; for ``sir`` see :func:`resample`."""
    if picker == "shortest":
        return min(candidates, key=lambda one: len(one.token_ids))
    if picker == "grape":
        return max(candidates, key=lambda one: fsum(one.policy or ()) / len(one.token_ids))
    return candidates[0]


def resample(candidates: Sequence[Response], draws: int, uniform: float, power: float = 1.0) -> Resampling:
    """Sampling importance resampling (Rubin 1987) from the behaviour policy to the policy.

    Response y has the weight w(y) = exp(sum_t log pi_0(y_t | plain prompt) - sum_t log mu(y_t | what the sampler
    saw)), and is chosen with a probability proportional to w(y)^power. The mean of w(y) c(y) over all draws, c being
    1 for a correct response and 0 for any other, has the expectation sum_y pi_0(y) c(y): the pass rate of the plain
    prompt.

    Args:
        candidates: the correct draws, one or more, with both log-probs.
        draws: how many were drawn, correct or not.
        uniform: a random number in [0, 1).
        power: 1 for the weights as they are, 0 for a uniform pick.
    """
    log_weights = np.array([fsum(one.policy or ()) - fsum(one.behavior or ()) for one in candidates])
    sums = weight_sums(log_weights, "none", 1.0)
    steps = np.cumsum(np.exp(power * log_weights - logsumexp(power * log_weights)))
    return Resampling(
        log_weights=log_weights.tolist(),
        chosen=min(int(np.searchsorted(steps, uniform, side="right")), len(candidates) - 1),
        ess=float(sums.ess_fraction) * len(candidates),
        mean=float(np.exp(min(float(sums.log_sum), 700.0)) / draws),  # e^700 still is a number
    )


def uniform_number(seed: int, key: str) -> float:
    """A number in [0, 1) that follows from the run's seed and ``key``: the same in a rerun."""
    digest = blake2b(f"{seed}/{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53
