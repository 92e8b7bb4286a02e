r"""The mathematics verifier: does a response end in the reference answer, or in something equal to it?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mindgap_data.verify import Verdict
from mindgap_data.verify.answers import Found, closing_number, find_answer, last_boxed, stated_after_box
from mindgap_data.verify.plain import Quantity, parse_plain, same_quantity


@dataclass(frozen=True)
class MathVerifier:
    """Checks mathematical answers.

    Attributes:
        closing_numbers: take the number a closing sentence states where a plain number is asked for and
            the response marks no answer, see ``answers.closing_number``.
    """

    closing_numbers: bool = True
    kind: ClassVar[str] = "checked"

    def __call__(self, response: str, answer: str, row: Mapping[str, Any]) -> Verdict:
        """Verdict on ``response`` against ``answer``; bounded by pre-checks, but only a pool limits its time."""
        verdict = self.quick(response, answer, row)
        if verdict is not None:
            return verdict
        gold = gold_answer(answer)
        found = find_answer(response)
        assert found is not None
        return Verdict.CORRECT if _same(gold, found.text) else Verdict.WRONG

    def quick(self, response: str, answer: str, row: Mapping[str, Any]) -> Verdict | None:
        """The verdict where plain numbers or a missing answer settle it, in linear time; else None."""
        gold = gold_answer(answer)
        if not gold:
            return Verdict.CHECKER_ERROR
        number = parse_plain(gold)
        found = find_answer(response)
        if found is None and self.closing_numbers and number is not None:
            closing = closing_number(response)
            found = Found(closing, "closing") if closing else None
        if found is None:
            return Verdict.NO_ANSWER
        if number is None:
            return None
        return self._against_number(number, found, response)

    def warm(self) -> None:
        """Import what the slow path needs, once a worker."""
        _same("x+1", "1+x")

    def _against_number(self, gold: Quantity, found: Found, response: str) -> Verdict | None:
        other = parse_plain(found.text)
        if other is None:
            return None
        if not same_quantity(gold, other):
            return Verdict.WRONG
        return Verdict.CORRECT


def gold_answer(answer: str) -> str:
    r"""The reference answer itself, where the field holds it in a ``\boxed{}`` or after ``####``."""
    return (last_boxed(answer) or answer.rpartition("####")[2]).strip()


def _same(gold: str, other: str) -> bool:
    from math_verify import parse, verify

    left = parse(rf"\boxed{{{gold}}}", parsing_timeout=None)
    right = parse(rf"\boxed{{{other}}}", parsing_timeout=None)
    return bool(verify(left, right, timeout_seconds=None))
