"""Verifiers for tests on random models: right when the response's length is divisible by three."""

import random
import time
from collections.abc import Mapping
from typing import Any

from mindgap_data.verify import Verdict


def by_length(response: str, answer: str, row: Mapping[str, Any]) -> Verdict:
    """Some draws right, some wrong, some without an answer, all by the text alone."""
    if len(response) < 3:
        return Verdict.NO_ANSWER
    return Verdict.CORRECT if len(response) % 3 == 0 else Verdict.WRONG


def by_length_in_its_own_time(response: str, answer: str, row: Mapping[str, Any]) -> Verdict:
    """The same verdicts, each after a time that no two runs share."""
    time.sleep(random.SystemRandom().random() * 0.02)
    return by_length(response, answer, row)
