"""Measures of a text, against numbers counted by hand."""

import pytest

from audited import EXPERT
from mindgap_data.checks.text import compression_ratio, language, repeated_ngrams, scripts


def test_repetition_figures_by_hand() -> None:
    # a b c d | b c d a | c d a b | d a b c | a b c d: five 4-grams, one of them twice.
    assert repeated_ngrams("a b c d a b c d") == pytest.approx(1 / 5)
    assert repeated_ngrams("one two three") == 0.0
    assert compression_ratio("") == 1.0
    assert compression_ratio("ab" * 5000) > 100 > 6 > compression_ratio(EXPERT)


def test_scripts_and_languages() -> None:
    assert scripts("abc αβγ 𝑥 где 漢字かな") == {"LATIN": 3, "CYRILLIC": 3, "CHINESE": 4}
    assert language("the cat and the dog have a house") == "English"
    assert language("der Hund und die Katze sind nicht da") == "German"
    assert language("3 + 4 = 7") is None
