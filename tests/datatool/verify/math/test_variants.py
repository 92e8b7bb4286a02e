"""Error rates on generated variants; a label comes from how a pair is made, never from a verifier."""

import pytest

from math_variants import all_variants
from mindgap_data.verify import Verdict
from mindgap_data.verify.math import MathVerifier

VERIFY = MathVerifier()


@pytest.mark.parametrize("seed", [1])
def test_error_rates_on_generated_variants(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = all_variants(seed, 1)
    verdicts = [VERIFY(pair.response, pair.answer, pair.row) is Verdict.CORRECT for pair in pairs]
    for name, held_out in (("seen while written", False), ("held out", True)):
        judged = [(pair, said) for pair, said in zip(pairs, verdicts, strict=True) if pair.held_out is held_out]
        accepted = [pair for pair, said in judged if said and not pair.correct]
        refused = [pair for pair, said in judged if pair.correct and not said]
        right = sum(pair.correct for pair, _ in judged)
        with capsys.disabled():
            print(
                f"\nvariants, spellings {name}: {len(accepted)}/{len(judged) - right} wrong accepted, "
                f"{len(refused)}/{right} right refused ({len(refused) / right:.1%})"
            )
        assert accepted == []
        assert len(refused) <= (0.16 if held_out else 0.01) * right, [pair.spelling for pair in refused]
