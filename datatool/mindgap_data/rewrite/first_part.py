"""The first part of a solution: about half of it, whole sentences or lines, without its answer."""

import re
from fractions import Fraction

# Where a part may end, and what must not be open there.
_MARK = re.compile(
    r"(?P<fence>```)|(?P<dollars>\$\$?)|(?P<open>\\\[|\\\(|\\begin\{)|(?P<close>\\\]|\\\)|\\end\{)"
    r"|(?P<end>\n|[.!?][\"')\]*_]{0,3}(?=\s)|[。！？])"
)
# What announces the final answer.
_ANNOUNCED = re.compile(r"\\boxed|####|\bfinal answer\b|\banswer\b\s{0,3}(?:is\b|[:=])", re.IGNORECASE)
_FRACTION = r"\\[dt]?frac\{(\d{1,18})\}\{(\d{1,18})\}|(\d{1,18}) ?/ ?(\d{1,18})"
_DECIMAL = r"\d{1,3}(?:,\d{3}){1,5}(?:\.\d{1,18})?(?![\d,])|\d{1,18}(?:\.\d{1,18})?"
_NUMBER = re.compile(rf"(?<![\d.])(?:{_FRACTION}|({_DECIMAL}))(?!\d)")


def first_part(solution: str, answer: str) -> str | None:
    """The first sentences or lines of ``solution``, as near to half of its characters as a boundary allows.

    Never with ``answer`` in it (as a text of its own, or a number of the same value: 0.5 for 1/2), with what
    announces an answer, or cut inside a formula or a code block. None where no part is left: where the first
    sentence has the answer already. Time is linear in the solution.
    """
    solution = solution.strip()
    limit = _answer_begins(solution, answer)
    best: int | None = None
    for end in _boundaries(solution):
        if end > limit or end >= len(solution):
            break
        if best is None or abs(2 * end - len(solution)) < abs(2 * best - len(solution)):
            best = end
    part = solution[:best].strip() if best else ""
    return part or None


def _boundaries(text: str) -> list[int]:
    """Ends of sentences and lines at which no formula and no code block is open."""
    found, depth, fenced, dollars = [], 0, False, ""
    for mark in _MARK.finditer(text):
        kind, token = mark.lastgroup, mark.group()
        if kind == "fence":
            fenced = not fenced
        elif fenced:
            continue
        elif kind == "dollars":
            dollars = token if not dollars else "" if token == dollars else dollars
        elif kind == "open":
            depth += 1
        elif kind == "close":
            depth = max(0, depth - 1)
        elif not dollars and not depth:
            found.append(mark.end())
    return found


def _answer_begins(solution: str, answer: str) -> int:
    """Where the answer first stands in the solution, or its announcement; the solution's length where neither does."""
    places = [len(solution)]
    if announced := _ANNOUNCED.search(solution):
        places.append(announced.start())
    wanted = answer.strip().strip("$").strip()
    case = re.NOFLAG if len(wanted) == 1 else re.IGNORECASE  # the choice A is no article
    if wanted and (found := re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", solution, case)):
        places.append(found.start())
    values = [_value(number) for number in [_NUMBER.fullmatch(wanted.removeprefix("-").strip())] if number]
    if values:
        places.extend(number.start() for number in _NUMBER.finditer(solution) if values[0] in _values(number))
    return min(places)


def _value(number: re.Match[str]) -> Fraction | None:
    above, below, over, under, decimal = number.groups()
    if decimal is not None:
        return Fraction(decimal.replace(",", ""))
    top, bottom = int(above or over), int(below or under)
    return Fraction(top, bottom) if bottom else None


def _values(number: re.Match[str]) -> set[Fraction | None]:
    """The value of a number in the solution, and of the two numbers of a fraction: "8 / 2" has 4, 8 and 2 in it."""
    return {_value(number), *(Fraction(part) for part in number.groups()[:4] if part)}
