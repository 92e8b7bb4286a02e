r"""Sets of numbers described in words or by a condition, as the condition or the union of intervals they are."""

import re
from itertools import pairwise

from mindgap_data.verify.math.brackets import split
from mindgap_data.verify.math.evaluation import approximate
from mindgap_data.verify.math.expression import UnsupportedError, parse

_BUILDER = re.compile(
    r"\\\{ *([a-z]) *(?:\\in *\\mathbb\{R\} *)?(?:[|:;]|\\text *\{ *such that *\}) *((?:(?!\\\}).)+)\\\}"
)
_SUCH_THAT = re.compile(
    r"(?:the set of )?all (?:real )?(?:numbers|values|reals)?(?: of)? *([a-z])? *"
    r"(?:such that|with|where|for which|satisfying) *(.+)",
    re.IGNORECASE,
)
_ALL_REAL = re.compile(r"all (?:real )?(?:numbers |values of )?([a-z] *(?:\\ne|\\le|\\ge|<|>).+)", re.IGNORECASE)
_EXCEPT = re.compile(
    r"(?:\\mathbb\{R\} *(?:\\setminus|\\backslash|-) *\\\{(.+)\\\}"
    r"|all (?:real )?(?:numbers|values|reals) *(?:[a-z] )?(?:except|but|other than) *(?:for )?(?:[a-z] *=)?(.+))",
    re.IGNORECASE,
)
_ALL_REALS = re.compile(r"[a-z] *\\in *\\mathbb\{R\}")
_TEXT_GROUP = re.compile(r"\\text *\{([^{}]*)\}")


def described(text: str) -> str:
    r"""The condition that a set-builder or "all x such that" states, or the intervals of R \ {a}; else ``text``."""
    builder = _BUILDER.fullmatch(text)
    if builder:
        return _condition(builder[2], builder[1])
    words = " ".join(_TEXT_GROUP.sub(r" \1 ", text).split())
    such_that = _SUCH_THAT.fullmatch(words)
    if such_that:
        return _condition(such_that[2], such_that[1] or "x")
    real = _ALL_REAL.fullmatch(words)
    if real:
        return real[1]
    excepted = _EXCEPT.fullmatch(words)
    if excepted:
        return without(split((excepted[1] or excepted[2]).strip(), re.compile(",")))
    return text


def conditions(items: tuple[str, ...]) -> tuple[str, ...]:
    """Items without those that only say the variable is real."""
    return tuple(item for item in items if not _ALL_REALS.fullmatch(item))


def value_at(text: str) -> float | None:
    """The real number a text is, to double precision."""
    try:
        value = approximate(parse(text))
    except UnsupportedError:
        return None
    return None if value is None or value.imag else value.real


def _condition(text: str, variable: str) -> str:
    parts = conditions(tuple(split(text.strip(), re.compile(","))))
    return ", ".join(parts) if parts and all(re.search(rf"(?<![\\A-Za-z]){variable}", part) for part in parts) else text


def without(points: list[str]) -> str:
    """The real line without points, as a union."""
    values = [value_at(point) for point in points]
    if None not in values:
        points = [point for _, point in sorted(zip(values, points, strict=True))]
    ends = [r"-\infty", *points, r"\infty"]
    return r" \cup ".join(f"({left},{right})" for left, right in pairwise(ends))
