r"""The mathematics verifier: does a response end in the reference answer, or in something equal to it?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mindgap_data.errors import UserError
from mindgap_data.verify import Verdict
from mindgap_data.verify.answers import Found, find_answer, gold_answer, stated_after_box
from mindgap_data.verify.math.choices import choice_value, choices_of
from mindgap_data.verify.math.closing import closing_answer, stated_in_sentence
from mindgap_data.verify.math.kinds import Option
from mindgap_data.verify.math.latex import UnreadableError, normalise
from mindgap_data.verify.math.options import read_option
from mindgap_data.verify.math.plain import Quantity, parse_plain, same_quantity
from mindgap_data.verify.math.remarks import spellings
from mindgap_data.verify.math.unfinished import is_unfinished


@dataclass(frozen=True)
class MathVerifier:
    """Checks mathematical answers.

    Numbers (thousands separators, units, currency, percent, fractions, mixed, scientific), LaTeX
    expressions, intervals, sets, tuples, matrices, equations, several answers, words, and letters or
    values of a multiple choice. Numbers are compared exactly, see ``plain.same_quantity``.

    Attributes:
        closing_answers: where a response marks no answer, take the one its closing sentence states: a
            formula in dollars, a letter of a multiple choice or, where a plain number is asked for, a
            number, see ``closing.closing_number``.
    """

    closing_answers: bool = True
    kind: ClassVar[str] = "checked"

    def __post_init__(self) -> None:
        if not isinstance(self.closing_answers, bool):
            raise UserError(f"verifier 'math': option closing_answers must be yes or no, got {self.closing_answers!r}")

    def __call__(self, response: str, answer: str, row: Mapping[str, Any]) -> Verdict:
        """Verdict on ``response`` against ``answer``. Sizes are bounded here; time is bounded by the pool."""
        verdict = self.quick(response, answer, row)
        if verdict is not None:
            return verdict
        gold = gold_answer(answer)
        found = self._found(response, gold, parse_plain(gold))
        if found is None:
            return Verdict.NO_ANSWER
        if parse_plain(gold.rpartition("=")[2]) is not None and is_unfinished(found.text):
            return Verdict.NO_ANSWER  # "6 + 1" for 7
        return compare(gold, found.text, row)

    def quick(self, response: str, answer: str, row: Mapping[str, Any]) -> Verdict | None:
        """The verdict where plain numbers or a missing answer settle it, in linear time; else None."""
        gold = gold_answer(answer)
        if not gold:
            return Verdict.CHECKER_ERROR
        number = parse_plain(gold)
        found = self._found(response, gold, number)
        if found is None:
            return Verdict.NO_ANSWER
        if number is None:
            return Verdict.CORRECT if found.text == gold else None
        other = parse_plain(found.text)
        if other is None:
            return None
        later = None
        if found.how == "boxed" and response.rfind("nswer") > response.rfind("boxed"):
            later = parse_plain(stated_after_box(response) or "")
        agreeing = later is None or same_quantity(number, later)
        return Verdict.CORRECT if same_quantity(number, other) and agreeing else Verdict.WRONG

    def warm(self) -> None:
        """Import what the slow path needs, once a worker."""
        compare(r"\sqrt{2}", r"2^{0.5}", {})

    def _found(self, response: str, gold: str, number: Quantity | None) -> Found | None:
        """The stated answer; where the reference is a number, also one inside a sentence."""
        found = find_answer(response)
        if not self.closing_answers:
            return found
        if found is None:
            closing = closing_answer(response, gold, number is not None)
            return Found(closing, "closing") if closing else None
        if number is not None and parse_plain(found.text) is None:
            stated = stated_in_sentence(found.text)  # "The answer is that she has 12 apples."
            return Found(stated, found.how) if stated else found
        return found


def compare(gold: str, other: str, row: Mapping[str, Any]) -> Verdict:
    """Verdict on an answer that was found; letters and values of a multiple choice stand for each other."""
    from mindgap_data.verify.math.equality import same_answer
    from mindgap_data.verify.math.exact import TooBigError

    try:
        normalise(gold)
    except UnreadableError:
        return Verdict.CORRECT if gold == other else Verdict.CHECKER_ERROR
    try:
        pairs = [
            pair for left in spellings(gold) for right in spellings(other) for pair in _with_choices(left, right, row)
        ]
        return Verdict.CORRECT if any(same_answer(left, right) for left, right in pairs) else Verdict.WRONG
    except UnreadableError:
        return Verdict.WRONG
    except (TooBigError, RecursionError):
        return Verdict.CHECKER_ERROR


def _with_choices(gold: str, other: str, row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The pairs to compare: as they stand and, where only one side is a letter, with the value behind it."""
    option, its_option = read_option(normalise(gold)), read_option(normalise(other))
    if (option is None) == (its_option is None):
        return [(gold, other)]
    letter = option or its_option
    assert isinstance(letter, Option)
    value = choice_value(letter, choices_of(row))
    if value is None:
        return [(gold, other)]
    return [(gold, other), (value, other) if option else (gold, value)]
