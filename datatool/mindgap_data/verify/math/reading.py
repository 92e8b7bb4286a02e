r"""From a normalised text to the kind of answer it is: a word, a number, an interval, a list, a matrix, ..."""

import re

from mindgap_data.verify.math.brackets import split
from mindgap_data.verify.math.expression import parse
from mindgap_data.verify.math.kinds import (
    Answer,
    Approximate,
    Based,
    Bracketed,
    Formula,
    Items,
    Matrix,
    Ratio,
    Relation,
    Text,
    Union,
)
from mindgap_data.verify.math.options import read_letters, read_option, words_of
from mindgap_data.verify.math.plain import parse_plain
from mindgap_data.verify.math.tokens import UnsupportedError
from mindgap_data.verify.math.units import Unit, parse_unit

MAX_ITEMS = 100


_TEXT_GROUP = re.compile(r"\\text *\{([^{}]*)\}")
_HEDGES = r"(?:approximately|approx\.?|about|roughly|around|circa)"
_HEDGE_BEFORE = re.compile(
    rf"(?:\\approx(?![A-Za-z])|\\text *\{{ *{_HEDGES} *\}}|{_HEDGES}(?= )) *(?=[-0-9.\\])", re.IGNORECASE
)
_HEDGE_AFTER = re.compile(
    r" *(?:\\text *\{ *)?\(?(?<![A-Za-z])(?:approximately|approx\.?|roughly)\)?(?: *\})?$", re.IGNORECASE
)
_BASED = re.compile(
    r"([0-9A-F]+)_\{? *(?:\\text *\{)? *([0-9]{1,2}|[a-z]+) *\}?\}?"
    r"|([0-9A-F]+) *\(?(?:in )?base[- ]([0-9]{1,2}|[a-z]+)\)?"
)
_MATRIX = re.compile(
    r"(?P<factor>[^=]{0,60}?)(?:\\cdot|\\times|\*)? *"
    r"[\[(|]? *\\begin *\{(?P<kind>[pbvBV]?matrix|smallmatrix|array)\}(?:\{[lcr| ]*\})?"
    r"(?P<body>.*)\\end *\{(?P=kind)\} *[\])|]?(?: *(?:\\cdot|\\times|\*) *(?P<behind>[^=]{1,60}))?",
    re.DOTALL,
)
_SIGN = re.compile(
    r"\\le(?![A-Za-z])|\\ge(?![A-Za-z])|\\ne(?![A-Za-z])|\\in(?![A-Za-z])|\\approx(?![A-Za-z])|:=|==?|<|>|\\equiv(?![A-Za-z])"
)
_SIGNS = {
    r"\le": "<=",
    r"\ge": ">=",
    r"\ne": "!=",
    r"\in": "in",
    r"\approx": "~",
    ":=": "=",
    "==": "=",
    r"\equiv": "equiv",
}
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_TRAILING_TEXT = re.compile(
    r"(.*[0-9A-Za-z})!]) *((?:\\text *\{[^{}]*\} *(?:\^ *\{? *-?[0-9] *\}?)? *(?:/|\\cdot)? *)+)"
)
_TRAILING_WORDS = re.compile(r"(.*[0-9})!]|.*\\pi) +((?:[A-Za-z]{2,}(?:\^ *\{?[0-9]\}?)?[ /]*)+)")
_ANGLE_INSIDE = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)[^+=]*$")  # its degrees are the angle's
_WORDS = re.compile(
    r"(?:[A-Za-z][A-Za-z'\u00c0-\u024f-]+[.,]?(?: |$))*[A-Za-z\u00c0-\u024f][A-Za-z'\u00c0-\u024f-]+[.!]?"
)


def read(text: str) -> Answer:
    """What ``text``, in the spelling of ``latex.normalise``, is. Never fails: what is nothing else is a Formula."""
    number = parse_plain(text)
    if number is not None:
        return number
    text = _unwrapped(text)
    return (
        parse_plain(text)
        or read_letters(text)
        or read_option(text)
        or _read_based(text)
        or _read_matrix(text)
        or _read_approximate(text)
        or _read_text(text)
        or _read_union(text)
        or _read_list(text)
        or read_relation(text)
        or read_bracketed(text)
        or _read_ratio(text)
        or _read_formula(text)
    )


def _unwrapped(text: str) -> str:
    """Without one ``\\text{}`` around the whole when it holds something to calculate."""
    match = re.fullmatch(r"\\text *\{([^{}]*)\}", text)
    return match[1].strip() if match and re.search(r"[0-9,]", match[1]) else text


def _read_approximate(text: str) -> Approximate | None:
    before = _HEDGE_BEFORE.match(text)
    after = _HEDGE_AFTER.search(text)
    rest = text[before.end() if before else 0 : after.start() if after else None].strip()
    return Approximate(rest) if rest and (before or after) else None


def _read_based(text: str) -> Based | None:
    match = _BASED.fullmatch(text)
    if match is None:
        return None
    digits, base = (match[1], match[2]) if match[1] else (match[3], match[4])
    names = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    if base in names:
        base = str(names.index(base) + 2)
    return Based(digits, base) if base.isdigit() and (digits.isdigit() or int(base) > 10) else None


def _read_matrix(text: str) -> Matrix | None:
    """A matrix; a factor or sign before it goes into its cells."""
    match = _MATRIX.fullmatch(text)
    if (
        match is None
        or (match["factor"] and match["behind"])
        or match["kind"].startswith(("v", "V"))
        or r"\begin" in match["body"]
    ):
        return None
    factor = (match["factor"] or match["behind"] or "").strip()
    if factor not in {"", "-"} and not _is_expression(factor):
        return None
    cells = [
        row.split("&")
        for row in re.split(r"\\\\(?:\[[^\]]*\])?|\\cr(?![a-z])", match["body"])
        if row.strip() not in {"", r"\hline"}
    ]
    times = {"": "{}", "-": "-({})"}.get(factor, "(" + factor.replace("{", "{{").replace("}", "}}") + ")({})")
    return Matrix(tuple(tuple(times.format(cell.strip()) for cell in row) for row in cells[:MAX_ITEMS]))


def _is_expression(text: str) -> bool:
    try:
        parse(text)
    except UnsupportedError:
        return False
    return True


def _read_text(text: str) -> Text | None:
    bare = _TEXT_GROUP.sub(r" \1 ", text).strip()
    if _WORDS.fullmatch(bare) and (not bare.isalpha() or len(bare) > 2 or bare != text or bare.lower() == "no"):
        return Text(words_of(text))
    if bare != text and not re.search(r"[0-9\\=<>]", bare) and not re.search(r",", bare):
        return Text(words_of(text))
    return None


def _read_union(text: str) -> Union | None:
    parts = split(text, re.compile(r"\\cup(?![A-Za-z])"))
    if len(parts) > 1:
        return Union(tuple(parts))
    parts = split(text, re.compile(r" or "))
    if len(parts) > 1 and all(_is_inequality(part) for part in parts):
        return Union(tuple(parts))
    return None


def _is_inequality(text: str) -> bool:
    return any(sign.strip() in {"<", ">", r"\le", r"\ge"} for sign in _SIGN.findall(text))


def _read_list(text: str) -> Items | None:
    cases = re.fullmatch(r"\\begin *\{cases\}([^&]*)\\end *\{cases\}", text)
    if cases:
        rows = [row.strip(" ,") for row in cases[1].split("\\\\")]
        return Items(tuple(row for row in rows if row)[:MAX_ITEMS], is_set=False)
    braces = re.fullmatch(r"\\\{(.*)\\\}|\{(.*)\}", text)
    if braces and len(split(text, re.compile(r"[^\s{}\\]"))) == 1:
        inner = braces[1] if braces[1] is not None else braces[2]
        items = _split_list(inner.strip(), inside=True)
        if braces[1] is not None or len(items) > 1:  # bare braces around one thing only group it
            return Items(tuple(items), is_set=True)
    items = _split_list(text, inside=False)
    return Items(tuple(items), is_set=False) if 1 < len(items) <= MAX_ITEMS else None


_COMMA = re.compile(r"[,;]| or (?=.)")
_SPACED_COMMA = re.compile(r"(?<![0-9]),|,(?![0-9]{3}(?![0-9]))|;| or (?=.)")


def _split_list(text: str, inside: bool) -> list[str]:
    """Items between commas; a comma before three digits separates thousands, unless all commas of a bracket do."""
    parts = split(text, _SPACED_COMMA)
    if inside and len(parts) == 1:
        parts = split(text, _COMMA)
    return [sign for part in parts if part for sign in plus_minus(part)]


def plus_minus(text: str) -> list[str]:
    """The two values of a text with a plus-minus sign; any other text alone."""
    if not re.search(r"\\(?:pm|mp)(?![A-Za-z])", text):
        return [text]
    upper = re.sub(r"\\mp(?![A-Za-z])", "-", re.sub(r"\\pm(?![A-Za-z])", "+", text))
    lower = re.sub(r"\\mp(?![A-Za-z])", "+", re.sub(r"\\pm(?![A-Za-z])", "-", text))
    return [upper.lstrip("+ "), lower]


def read_relation(text: str) -> Relation | None:
    """Sides with the signs of equations and inequalities between them."""
    sides = split(text, _SIGN)
    if len(sides) < 2:
        return None
    signs = []
    position = 0
    for side in sides[:-1]:
        position = text.index(side, position) + len(side)
        match = _SIGN.search(text, position)
        assert match is not None
        signs.append(_SIGNS.get(match.group(), match.group()))
        position = match.end()
    if sides[0] == "" and signs[0] in {"=", "~"}:  # "= 5", "\\approx 5"
        sides, signs = sides[1:], signs[1:]
        if not signs:
            return Relation((sides[0], sides[0]), ("=",))
    return Relation(tuple(sides), tuple(signs))


def read_bracketed(text: str) -> Bracketed | None:
    """Several items in round, square or angle brackets."""
    angle = re.fullmatch(r"(?:\\langle|<)(.*)(?:\\rangle|>)", text)
    if angle:
        return Bracketed("<", ">", tuple(_split_list(angle[1].strip(), inside=True)))
    if not (text.startswith(("(", "[")) and text.endswith((")", "]"))):
        return None
    depth = 0
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and at < len(text) - 1:
            return None
    items = _split_list(text[1:-1].strip(), inside=True)
    return Bracketed(text[0], text[-1], tuple(items)) if 1 < len(items) <= MAX_ITEMS else None


def _read_ratio(text: str) -> Ratio | None:
    parts = split(text, re.compile(r":| to (?=[0-9])"))
    return Ratio(tuple(parts)) if len(parts) > 1 and all(parts) else None


def _read_formula(text: str) -> Formula:
    unit = Unit()
    if text.startswith(r"\$"):
        known = parse_unit(r"\$")
        text, unit = text[2:].strip(), known or unit
    for pattern in (_TRAILING_TEXT, _TRAILING_WORDS):
        match = pattern.fullmatch(text)
        behind = parse_unit(" " + match[2]) if match else None
        if match and behind is not None and behind.scale == 1 and not _ANGLE_INSIDE.search(match[1]):
            return Formula(match[1].strip(), behind if unit.bare else unit)
    percent = re.fullmatch(r"(.*[0-9})]) *\\?%", text)
    if percent:
        return Formula(percent[1].strip(), Unit(percent=True))
    return Formula(text, unit)
