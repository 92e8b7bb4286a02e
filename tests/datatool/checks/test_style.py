"""How responses are written: marks of doubt, formulae and length, counted by hand and compared across tiers."""

import time

import numpy as np
import pytest

from mindgap_data.checks.style import ResponseStyle, StyleTally, response_style, style_findings


@pytest.mark.parametrize(
    ("text", "doubt"),
    [
        ("Wait, that is wrong. Let me check.", 3),
        ("So x = 7. Wait. Is that right?", 2),
        ("They wait 5 minutes and actually arrive.", 0),
        ("Actually the sum is 8. Hmm, I made a mistake.", 3),
        ("Let\u2019s double-check: 3 + 4 is 7.", 1),
        ("That is right: 7. The answer is correct.", 0),
        ("等等,这不对。让我检查一下。", 3),
        ("", 0),
    ],
)
def test_marks_of_doubt(text, doubt):
    assert response_style(text).doubt == doubt


@pytest.mark.parametrize(
    ("text", "formulae"),
    [
        ("3 + 4 = 7", 1),
        ("We have $x = 3$ and $$y = 4$$, so \\\\(x + y = 7\\\\).".replace("\\\\", "\\"), 3),
        ("a = b\nc = d\n== heading ==", 2),
        ("It costs $5 today.\nIt cost $3 then.", 0),
    ],
)
def test_formulae(text, formulae):
    assert response_style(text).formulae == formulae


@pytest.mark.parametrize(
    "text", ["\n" * 10**5, ". " * 10**5, "\\[" * 10**5, "\\(" * 10**5, "$" * 10**5, "let me " * 10**5]
)
def test_huge_texts_take_linear_time(text):
    began = time.process_time()
    response_style(text)
    assert time.process_time() - began < 10


def test_a_tiers_style_and_its_ratio_to_the_self_tier():
    tally = StyleTally()
    for words, doubt in ((100, 2), (300, 2)):
        tally.add("self", ResponseStyle(words, doubt, 1))
    tally.add("guided", ResponseStyle(100, 1, 1))
    styles = tally.by_tier()
    own, guided = styles["self"], styles["guided"]
    assert (own.rows, own.words.estimate, own.doubt.estimate, own.formulae.estimate) == (2, 200.0, 10.0, 5.0)
    assert own.against_self is None
    ratios = {name: ratio.estimate for name, ratio in guided.against_self.items()}
    assert ratios == pytest.approx({"words": 0.5, "doubt": 1.0, "formulae": 2.0})
    assert (own.words.low, own.words.high) == (100.0, 300.0)
    assert "expert" not in styles


def test_an_interval_covers_the_true_ratio():
    rng = np.random.default_rng(0)
    tally = StyleTally()
    for tier, rate in (("self", 0.02), ("guided", 0.005)):
        for words in rng.integers(50, 200, size=400):
            tally.add(tier, ResponseStyle(int(words), int(rng.poisson(rate * words)), 0))
    ratio = tally.by_tier()["guided"].against_self["doubt"]
    assert ratio.low < 0.25 < ratio.high < 0.35


def tallied(guided, rows=12):
    tally = StyleTally()
    for _ in range(rows):
        tally.add("self", ResponseStyle(100, 2, 4))
        tally.add("guided", guided)
        tally.add("expert", ResponseStyle(400, 0, 90))
    return tally


@pytest.mark.parametrize(
    ("tally", "expected"),
    [
        (tallied(ResponseStyle(100, 2, 4)), []),
        (tallied(ResponseStyle(100, 9, 4)), []),
        (tallied(ResponseStyle(100, 1, 4)), []),
        (tallied(ResponseStyle(100, 0, 4), rows=9), []),
        (
            tallied(ResponseStyle(100, 0, 4)),
            [
                "Guided responses have fewer marks of doubt than the model's own: 0 against 20 per 1,000 words, "
                "a ratio of 0.00 [0.00, 0.00]. The solution in the prompt shows through. Give smaller hints, ask for "
                "the model's own way in --guided-template, or draw more often in the self stage."
            ],
        ),
        (
            tallied(ResponseStyle(210, 4, 20)),
            [
                "Guided responses have more words per response than the model's own: 210 against 100, a ratio of 2.10 "
                "[2.10, 2.10]. The solution in the prompt shows through. Give smaller hints, ask for the model's own "
                "way in --guided-template, or draw more often in the self stage.",
                "Guided responses have more formulae than the model's own: 95.2 against 40 per 1,000 words, a ratio of "
                "2.38 [2.38, 2.38]. The solution in the prompt shows through. Give smaller hints, ask for the model's "
                "own way in --guided-template, or draw more often in the self stage.",
            ],
        ),
    ],
)
def test_a_guided_tier_written_unlike_the_model_is_named(tally, expected):
    assert [finding.in_words for finding in style_findings(tally.by_tier())] == expected
