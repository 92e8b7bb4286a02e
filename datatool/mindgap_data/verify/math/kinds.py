"""The kinds of answer; kinds are compared before values."""

from dataclasses import dataclass

from mindgap_data.verify.math.plain import Quantity
from mindgap_data.verify.math.units import Unit


@dataclass(frozen=True)
class Text:
    """Words."""

    words: str


@dataclass(frozen=True)
class Option:
    """A letter of a multiple choice, and the value written after it ("" for none)."""

    letter: str
    value: str


@dataclass(frozen=True)
class Letters:
    """Several letters of a multiple choice."""

    names: frozenset[str]


@dataclass(frozen=True)
class Approximate:
    """What is said to be about a number."""

    text: str


@dataclass(frozen=True)
class Based:
    """Digits with the base they are written in."""

    digits: str
    base: str


@dataclass(frozen=True)
class Items:
    """Several answers: a bare list or a set; the order says nothing."""

    items: tuple[str, ...]
    is_set: bool


@dataclass(frozen=True)
class Bracketed:
    """A tuple, point, vector or interval, with its brackets."""

    left: str  # ( [ or <
    right: str
    items: tuple[str, ...]
    from_inequality: bool = False  # an interval for certain, never a pair


@dataclass(frozen=True)
class Union:
    """A union of intervals or sets."""

    parts: tuple[str, ...]


@dataclass(frozen=True)
class Matrix:
    """Rows of cells."""

    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Relation:
    """Sides and the signs between them: = ~ < > <= >= != in."""

    sides: tuple[str, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True)
class Ratio:
    """a : b."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Formula:
    """An expression, with the unit behind it."""

    text: str
    unit: Unit


Answer = (
    Text
    | Option
    | Letters
    | Approximate
    | Based
    | Items
    | Bracketed
    | Union
    | Matrix
    | Relation
    | Ratio
    | Formula
    | Quantity
)
