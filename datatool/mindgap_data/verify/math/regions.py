r"""Parts of the real line, however they are described: intervals, unions, conditions, set-builders, what is left out.

A region is the sorted tuple of its cuts: where it begins and ends by turns, each just before or just after a number.
So [1, 3) is cut before 1 and before 3, and the point 2 before 2 and after 2.
"""

import re
from functools import lru_cache
from typing import Any

from mindgap_data.verify.math.brackets import split
from mindgap_data.verify.math.evaluation import precise
from mindgap_data.verify.math.exact import TooBigError
from mindgap_data.verify.math.expression import parse
from mindgap_data.verify.math.reading import plus_minus, read_bracketed, read_relation
from mindgap_data.verify.math.tokens import UnsupportedError

MAX_PARTS = 50
INFINITY = float("inf")

Cut = tuple[Any, bool]  # a number of 40 digits or an infinity, and whether the cut is behind it
Region = tuple[Cut, ...]

_LINE: Region = ((-INFINITY, True), (INFINITY, False))
_BUILDER = re.compile(
    r"\\\{ *([a-z])(?P<domain> *\\in *(?:(?![|:;]| such ).)+?)? *(?:[|:;]|such that )"
    r" *(?P<condition>(?:(?!\\\}).|\\\}(?!$))+)\\\}"
)
_ALL_REALS = r"(?:the set of )?all (?:the )?(?:real )?(?:numbers?|values?|reals)?(?: of)?"
_SUCH_THAT = re.compile(rf"{_ALL_REALS} *([a-z])? *(?:such that|with|where|for which|satisfying) *(.+)", re.IGNORECASE)
_ALL_REAL = re.compile(rf"{_ALL_REALS} *([a-z] *(?:\\ne|\\le|\\ge|<|>).+)", re.IGNORECASE)
_EXCEPT = re.compile(
    rf"{_ALL_REALS} *(?:[a-z] )?(?:except|but|other than|excluding) *(?:for )?(?:[a-z] *=)?(.+)", re.IGNORECASE
)
_COMPARED = re.compile(
    rf"{_ALL_REALS} *(?:[a-z] )?(?:that are )?(less|smaller|greater|larger|more) than( or equal to)? (.+)",
    re.IGNORECASE,
)
_EVERYTHING = re.compile(r"\\mathbb\{R\}|\(-\\infty, ?\+?\\infty\)|all (?:real numbers|reals)", re.IGNORECASE)
_HALF = re.compile(r"\\mathbb\{R\} *(?:_\{? *(<|>|\\le|\\ge) *0 *\}?|\^\{?([-+])\}?)")
_VARIABLE = re.compile(r"(?:[a-zA-Z]|\\(?:theta|alpha|beta|lambda|mu))(?:_(?:[0-9a-z]|\{[^{}]{1,5}\}))?")
_ABSOLUTE = re.compile(r"\|([^|]+)\|")
_SHIFTED = re.compile(r"([a-zA-Z])(?: *([-+]) *(.+))?")
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


def same_region(gold: str, other: str) -> bool | None:
    """Whether two normalised texts describe one region; None where either is none, or both may be pairs or lists.

    Ends must be numbers: those with letters are compared elsewhere.
    """
    if _may_be_a_pair(gold) and _may_be_a_pair(other):
        return None
    left, right = region(gold), region(other)
    if left is None or right is None or _is_finite(left) or _is_finite(right):
        return None
    return left == right


@lru_cache(maxsize=256)
def region(text: str) -> Region | None:
    """The region a normalised text describes; None where it describes none."""
    return _region(" ".join(re.sub(r"\\text *\{([^{}]*)\}", r" \1 ", text).split()), 0)


def _region(text: str, depth: int) -> Region | None:
    if depth > 4:
        return None
    if _EVERYTHING.fullmatch(text):
        return _LINE
    return (
        _described(text, depth) or _combined(text, depth) or _interval(text) or _points(text) or _condition(text, depth)
    )


def _may_be_a_pair(text: str) -> bool:
    """A bracket with two numbers may be a point as well as an interval."""
    return read_bracketed(text) is not None and "infty" not in text


def _is_finite(cuts: Region) -> bool:
    """Whether it holds nothing but single points."""
    return all(low == high for (low, _), (high, _) in zip(cuts[::2], cuts[1::2], strict=True))


# --- what a text describes -----------------------------------------------------------------------


def _described(text: str, depth: int) -> Region | None:
    """A set-builder, or "all x such that", "all real numbers except"."""
    builder = _BUILDER.fullmatch(text)
    if builder:
        domain = _region(re.sub(r"^ *\\in *", "", builder["domain"]), depth + 1) if builder["domain"] else _LINE
        kept = _region(builder["condition"].strip(), depth + 1)
        return None if kept is None or domain is None else _both(domain, kept)
    if match := _SUCH_THAT.fullmatch(text):
        return _region(match[2], depth + 1)
    if match := _ALL_REAL.fullmatch(text):
        return _region(match[1], depth + 1)
    if match := _EXCEPT.fullmatch(text):
        points = _numbers(split(match[1].strip(), re.compile(r",| or ")))
        return None if points is None else _outside(_union([_point(point) for point in points]))
    if match := _COMPARED.fullmatch(text):
        sign = ("<" if match[1].lower() in {"less", "smaller"} else ">") + ("=" if match[2] else "")
        return _ray(sign, match[3])
    return None


def _combined(text: str, depth: int) -> Region | None:
    r"""Unions, intersections and differences, and the alternatives and conjunctions of conditions."""
    for separator, join in ((r"\\cup(?![A-Za-z])", _union), (r" or ", _union), (r"\\cap(?![A-Za-z])", _common)):
        parts = split(text, re.compile(separator))
        if 1 < len(parts) <= MAX_PARTS:
            return join(_all_regions([re.sub(r"^[,;] *|[,;]$", "", part) for part in parts], depth))
    parts = split(text, re.compile(r"\\(?:setminus|backslash)(?![A-Za-z])|(?<=\\mathbb\{R\}) *- *(?=\\\{)"))
    if len(parts) == 2:
        whole, hole = (_region(part, depth + 1) for part in parts)
        return None if whole is None or hole is None else _both(whole, _complement(hole))
    parts = split(text, re.compile("[,;]"))
    if 1 < len(parts) <= MAX_PARTS:
        return _common(_all_regions(_with_names(parts), depth))
    return None


def _with_names(parts: list[str]) -> list[str]:
    r""" "x \ne 1, 2" as "x \ne 1", "x \ne 2"."""
    named: list[str] = []
    for part in parts:
        before = re.match(r"(.+\\ne) *[^\\]", named[-1]) if named else None
        named.append(f"{before[1]} {part}" if before and read_relation(part) is None else part)
    return named


def _all_regions(parts: list[str], depth: int) -> list[Region] | None:
    regions = [_region(part, depth + 1) for part in parts]
    return None if None in regions else [found for found in regions if found is not None]


def _interval(text: str) -> Region | None:
    bracketed = read_bracketed(text)
    if bracketed is None or len(bracketed.items) != 2 or "<" in (bracketed.left, bracketed.right):
        return None
    ends = _numbers(list(bracketed.items))
    if ends is None or not ends[0] <= ends[1]:
        return None
    if (bracketed.left == "[" and ends[0] == -INFINITY) or (bracketed.right == "]" and ends[1] == INFINITY):
        return None
    return _between(ends[0], bracketed.left == "[", ends[1], bracketed.right == "]")


def _points(text: str) -> Region | None:
    r"""A set of numbers: \{1, 2\}."""
    braces = re.fullmatch(r"\\\{(.*)\\\}", text)
    points = _numbers(split(braces[1], re.compile(","))) if braces else None
    return _union([_point(point) for point in points]) if points else None


def _condition(text: str, depth: int) -> Region | None:
    """Equations and inequalities in one letter, chained or with an absolute value."""
    relation = read_relation(text)
    if relation is None:
        return None
    sides, signs = relation.sides, relation.signs
    if len(sides) == 2 and _VARIABLE.fullmatch(sides[1]) and not _VARIABLE.fullmatch(sides[0]) and signs[0] != "in":
        sides, signs = sides[::-1], (_FLIPPED.get(signs[0], signs[0]),)
    if len(sides) == 3 and _VARIABLE.fullmatch(sides[1]) and set(signs) <= set(_FLIPPED):
        first, second = _ray(_FLIPPED[signs[0]], sides[0]), _ray(signs[1], sides[2])
        return None if first is None or second is None or signs[0][0] != signs[1][0] else _both(first, second)
    if len(sides) != 2:
        return None
    if absolute := _ABSOLUTE.fullmatch(sides[0]):
        return _within(absolute[1], signs[0], sides[1])
    if not _VARIABLE.fullmatch(sides[0]) or sides[0] in {"e", "i"}:
        return None
    if signs[0] == "in":
        return _region(sides[1], depth + 1)
    if signs[0] == "=" and sides[1].startswith("\\{"):
        return _region(sides[1], depth + 1)  # S = \{x | ...\}
    if signs[0] in {"=", "!="}:
        points = _numbers(plus_minus(sides[1]))
        equal = None if points is None else _union([_point(point) for point in points])
        return equal if equal is None or signs[0] == "=" else _outside(equal)
    return _ray(signs[0], sides[1])


def _within(inside: str, sign: str, radius: str) -> Region | None:
    """|x - c| < r and its like."""
    from mpmath import mp

    shifted, size = _SHIFTED.fullmatch(inside.strip()), _numbers([radius])
    centre = _numbers([shifted[3]] if shifted and shifted[3] else ["0"])
    if shifted is None or size is None or centre is None or not 0 < size[0] < INFINITY or sign not in _FLIPPED:
        return None
    closed = sign in {"<=", ">"}  # what is left outside an open region is closed
    with mp.workdps(60):
        middle = -centre[0] if shifted[2] == "+" else centre[0]
        inner = _between(_rounded(middle - size[0]), closed, _rounded(middle + size[0]), closed)
    return inner if sign[0] == "<" else _outside(inner)


def _ray(sign: str, end: str) -> Region | None:
    number = _numbers([end])
    if number is None or sign not in _FLIPPED:
        return None
    if sign[0] == "<":
        return _between(-INFINITY, False, number[0], sign == "<=")
    return _between(number[0], sign == ">=", INFINITY, False)


def _numbers(texts: list[str]) -> list[Any] | None:
    """The real numbers some texts are, to 40 digits; None where one is none."""
    found: list[Any] = []
    for text in texts:
        sign = re.fullmatch(r" *([-+]?) *\\infty *", text)
        if sign:
            found.append(-INFINITY if sign[1] == "-" else INFINITY)
            continue
        try:
            value = precise(parse(text))
        except (UnsupportedError, TooBigError):
            return None
        if value is None:
            return None
        found.append(_rounded(value))
    return found


# --- cuts ----------------------------------------------------------------------------------------


def _rounded(value: Any) -> Any:
    """To 40 digits, so that two ways of computing one number give one cut."""
    from mpmath import mp

    with mp.workdps(60):
        return mp.mpf(mp.nstr(value, 40)) if abs(value) > mp.mpf(10) ** -45 else mp.mpf(0)


def _between(low: Any, low_in: bool, high: Any, high_in: bool) -> Region:
    cuts = (low, not low_in or low == -INFINITY), (high, high_in and high != INFINITY)
    return cuts if cuts[0] < cuts[1] else ()


def _point(number: Any) -> Region:
    return (number, False), (number, True)


def _contains(cuts: Region, cut: Cut) -> bool:
    return sum(its <= cut for its in cuts) % 2 == 1


def _where(regions: list[Region], kept: Any) -> Region:
    """The region whose every stretch between two cuts is one that ``kept`` (any, all) keeps."""
    cuts = sorted({cut for cuts in regions for cut in cuts})
    result: list[Cut] = []
    for cut in cuts:
        if kept(_contains(cuts, cut) for cuts in regions) != len(result) % 2:
            result.append(cut)
    return tuple(result)


def _union(regions: list[Region] | None) -> Region | None:
    return None if regions is None else _where(regions, any)


def _common(regions: list[Region] | None) -> Region | None:
    return None if regions is None else _where(regions, all)


def _both(left: Region, right: Region) -> Region:
    return _where([left, right], all)


def _outside(cuts: Region | None) -> Region | None:
    return None if cuts is None else _complement(cuts)


def _complement(cuts: Region) -> Region:
    return tuple(sorted(set(cuts) ^ set(_LINE)))
