"""Error rates on generated variants; a label comes from how a pair is made, never from a verifier."""

import json
from pathlib import Path

import pytest

from math_variants import all_variants
from mindgap_data.verify import Verdict
from mindgap_data.verify.math import MathVerifier

VERIFY = MathVerifier()


def test_error_rates_on_generated_variants(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = all_variants(seed=1, a_spelling=1)
    accepted, refused = [], []
    for pair in pairs:
        said = VERIFY(pair.response, pair.answer, pair.row) is Verdict.CORRECT
        if said and not pair.correct:
            accepted.append(pair)
        if pair.correct and not said:
            refused.append(pair)
    right = sum(pair.correct for pair in pairs)
    with capsys.disabled():
        print(
            f"\nvariants: {len(accepted)}/{len(pairs) - right} wrong accepted, "
            f"{len(refused)}/{right} right refused ({len(refused) / right:.1%})"
        )
    assert accepted == []
    assert len(refused) <= 0.01 * right, [(pair.kind, pair.spelling) for pair in refused]


def test_error_rates_on_written_endings(capsys: pytest.CaptureFixture[str]) -> None:
    """Endings as models write them; what is still refused is a fault we know of, not one we want."""
    text = (Path(__file__).parents[3] / "data" / "math_endings.jsonl").read_text()
    pairs = [json.loads(line) for line in text.splitlines()]
    right = [pair for pair in pairs if pair["correct"]]
    said = {id(pair): VERIFY(pair["response"], pair["answer"], {}) is Verdict.CORRECT for pair in pairs}
    refused = [pair for pair in right if not said[id(pair)]]
    accepted = [pair for pair in pairs if said[id(pair)] and not pair["correct"]]
    with capsys.disabled():
        print(
            f"\nendings: {len(accepted)}/{len(pairs) - len(right)} wrong accepted, {len(refused)}/{len(right)} refused"
        )
    assert accepted == []
    assert len(refused) <= 26, [(pair["answer"], pair["response"]) for pair in refused]
