"""math-verify, for what our own parser does not evaluate: sums, products, integrals, limits, floors.

It comes last, and only on text small and tame enough for sympy: on other texts it accepts more than it
should ("14 mod 15" for 14), and some make it run without end.
"""

import logging
import re

MAX_LENGTH = 200
MAX_NESTING = 6
MAX_POWERS = 6
# What sends sympy away: long digits, factorials, binomials, powers of powers.
_WILD = re.compile(r"\d{10,}|!|\\binom|choose|\^\s*\{?[^{}\s]*\^|\*\*")
_BEYOND_US = re.compile(r"\\(?:int|sum|prod|lim|lfloor|lceil)(?![A-Za-z])")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_PROSE = re.compile(r"[A-Za-z]{4,}")


def math_verify_agrees(gold: str, other: str) -> bool:
    """Whether math-verify (0.9) finds ``other`` equal to ``gold``, both LaTeX formulas; False where it fails.

    Time is bounded by the caller's process: math-verify's own limit is a signal, which is off here.
    """
    if not _BEYOND_US.search(gold + " " + other) or not (_tame(gold) and _tame(other)):
        return False
    from math_verify import LatexExtractionConfig, parse, verify
    from math_verify.errors import TimeoutException

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns of the limit that is off
    targets = (LatexExtractionConfig(boxed_match_priority=0),)
    try:
        # Bare LaTeX is not parsed, so both sides are boxed; the order is (gold, prediction).
        sides = [
            parse(rf"\boxed{{{text}}}", targets, parsing_timeout=None, raise_on_error=True) for text in (gold, other)
        ]
        # The last item of a parse is the text itself, kept when nothing else was understood.
        if any(len(side) < 2 for side in sides):
            return False
        return bool(verify(sides[0], sides[1], strict=True, timeout_seconds=None, raise_on_error=True))
    except (Exception, TimeoutException):  # noqa: BLE001 - sympy and its parsers raise anything at all
        return False


def _tame(text: str) -> bool:
    """A short LaTeX formula: shallow, without prose and without what makes sympy run for ever."""
    if len(text) > MAX_LENGTH or text.count("^") > MAX_POWERS or not _COMMAND.search(text):
        return False
    depth = deepest = 0
    for char in text:
        depth += (char in "({[") - (char in ")}]")
        deepest = max(deepest, depth)
    prose = _PROSE.search(_COMMAND.sub(" ", text)) or re.search(r"\\(?:text|mbox|mathrm|operatorname)", text)
    return deepest <= MAX_NESTING and not _WILD.search(text) and not prose
