"""Leaks: phrases that mention the reference, and copied n-grams."""

import pytest

from mindgap_data.rewrite.leaks import NEAR_COPY, mentions_reference, ngram_overlap, words

LEAKS = [
    ("As shown in the reference solution, we add.", "the reference solution"),
    ("Following the given solution we get 7.", "the given solution"),
    ("**The provided solution** adds first.", "the provided solution"),
    ("As the teacher says, carry the one.", "as the teacher says"),
    ("The teacher’s solution starts with x.", "the teacher's solution"),
    ("This agrees with the teacher's approach.", "agrees with the teacher's approach"),
    ("According to the solution, 3 + 4 = 7.", "according to the solution"),
    ("The solution provided above uses algebra.", "the solution provided above"),
    ("I will use the solution you gave.", "the solution you gave"),
    ("We follow the solution given by the teacher.", "the solution given by the teacher"),
    ("It matches the expected answer.", "the expected answer"),
    ("as explained in the\n  solution", "as explained in the solution"),
    ("Comparing with the answer key we see 7.", "the answer key"),
    ("We check against the given correct answer.", "the given correct answer"),
    ("Reading the <teacher_solution> we see 7.", "teacher solution"),
    ("Following the teacher's guidance, add.", "the teacher's guidance"),
    ("The given step-by-step solution is clear.", "the given step-by-step solution"),
    ("The teacher once provided a step-by-step solution.", "the teacher once provided a step-by-step solution"),
    ("The teacher does not provide a direct answer.", "the teacher does not provide a direct answer"),
    ("Since we are told the answer is 5, add.", "we are told the answer"),
    ("The answer was already given: 5.", "the answer was already given"),
    ("根据参考答案,结果是 7。", "参考答案"),
]
CLEAN = [
    "The solution of the equation is x = 7.",
    "The given equation has two solutions.",
    "Add the given numbers: 3 + 4 = 7.",
    "The teacher says there are 20 pupils, so 20 - 4 = 16.",
    "The teacher has 12 apples and gives 5 away.",
    "The solution set is {1, 2}.",
    "The solution given by the quadratic formula is x = 3.",
    "The solution provided that x > 0 is x = 3.",
    "The reference angle is 30 degrees.",
    "For reference, 1 km is 1000 m.",
    "Among the given answer choices, B fits.",
    "The chemist adds 5 ml to the solution.",
    "According to the solution of the equation above, x = 2.",
    "The original solution contained 20% acid; the given salt solution is stronger.",
    "The solution is shown here: x = 2.",
    "For a given solution x the residual is zero.",
    "An expert painter needs 3 hours.",
    "Check your answer: 7 - 4 = 3.",
    "Based on the given information we add.",
    "The teacher gives 5 books to each of 3 pupils.",
    "The teacher has already provided 12 pencils, so 20 - 12 = 8.",
    "The answer is given by 3 * 4 = 12.",
    "We are told that the train leaves at 5.",
    "",
]


@pytest.mark.parametrize(("text", "phrase"), LEAKS)
def test_phrases_that_mention_a_shown_solution(text: str, phrase: str) -> None:
    found = mentions_reference(text)
    assert found is not None
    assert phrase in found or found in phrase


@pytest.mark.parametrize("text", CLEAN)
def test_ordinary_mathematics_is_no_mention(text: str) -> None:
    assert mentions_reference(text) is None


@pytest.mark.parametrize(
    ("text", "prompt", "phrase"),
    [
        ("The teacher once provided this.", "What is 2 + 3?", "the teacher"),
        ("The teacher does not provide more.", "What is 2 + 3?", "the teacher"),
        ("It is what our tutor’s method gives.", "What is 2 + 3?", "our tutor's"),
        ("The teacher does not provide more.", "A Teacher has 5 books. How many?", None),
        ("The teachers have 10 books.", "Two teachers have 5 books each.", None),
        ("A teacher may have 5.", "What is 2 + 3?", None),
    ],
)
def test_a_teacher_the_problem_does_not_know_is_the_one_of_the_guided_prompt(
    text: str, prompt: str, phrase: str | None
) -> None:
    assert mentions_reference(text, prompt) == phrase
    assert mentions_reference(text) is None


@pytest.mark.parametrize(
    "unit",
    ["the given ", "as shown in the ", "the teacher's ", "a" * 50, "the solution that is ", "the teacher has not "],
)
def test_two_megabytes_of_half_matches_are_settled(unit: str) -> None:
    # Two million characters: anything slower than linear matching would not end.
    assert mentions_reference(unit * (2_000_000 // len(unit))) is None


def test_overlap_is_the_share_of_copied_ngrams() -> None:
    expert = "a b c d e f g h i j"
    assert ngram_overlap(expert, expert) == 1.0
    # Three 8-grams of ten words; only the first two stand in the expert's text.
    assert ngram_overlap("a b c d e f g h i X", expert) == pytest.approx(2 / 3)
    assert ngram_overlap("z y x w v u t s r q", expert) == 0.0
    assert ngram_overlap("b c X", expert, n=2) == 0.5


@pytest.mark.parametrize(
    ("text", "expert", "overlap"),
    [
        ("3 + 4 = 7", "3+4=7.", 1.0),
        ("3 + 4 = 7", "First 3 + 4 = 7, as wanted, since we add.", 0.0),
        ("", "", 0.0),
        ("...", "...", 0.0),
        ("The Answer, IS 7", "the answer is 7", 1.0),
    ],
)
def test_short_texts_are_compared_whole(text: str, expert: str, overlap: float) -> None:
    assert ngram_overlap(text, expert) == overlap


def test_chinese_counts_by_character() -> None:
    assert words("小明有3个苹果") == ["小", "明", "有", "3", "个", "苹", "果"]
    assert ngram_overlap("小明有三个苹果和梨", "小明有三个苹果和梨") == 1.0


def test_a_lightly_edited_copy_is_near_copy_and_a_retelling_is_not() -> None:
    expert = "Natalia sold 48 clips in April and half as many in May so she sold 24 clips in May and 72 clips in all"
    edited = expert.replace("in all", "altogether")
    retold = "In April there were 48 clips. May had half of that, 24. Together that makes 48 + 24 = 72 clips."
    assert ngram_overlap(edited, expert) >= NEAR_COPY
    assert ngram_overlap(retold, expert) < NEAR_COPY
