r"""Units behind a number: "cm^2", "\text{ miles per hour}", "apples", "%", "million dollars"."""

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_TEXT = 120

# name -> (dimension, how many of the dimension's first unit it is)
_TABLE: dict[str, tuple[str, Fraction]] = {}


def _add(dimension: str, units: dict[str, str | int]) -> None:
    for names, factor in units.items():
        for name in names.split():
            _TABLE[name] = (dimension, Fraction(factor))


_add("length", {"m meter metre": 1, "mm millimeter millimetre": "1/1000", "cm centimeter centimetre": "1/100"})
_add("length", {"dm decimeter decimetre": "1/10", "km kilometer kilometre": 1000, "inch inche": "0.0254"})
_add("length", {"ft foot feet": "0.3048", "yd yard": "0.9144", "mile mi": "1609.344"})
_add("mass", {"g gram gm": 1, "mg milligram": "1/1000", "kg kilogram kilo": 1000})
_add("mass", {"lb pound": "453.59237", "oz ounce": "28.349523125", "ton": "907184.74", "tonne": 1_000_000})
_add("time", {"second sec s": 1, "minute min": 60, "hour hr h": 3600, "day": 86400, "week": 604800})
_add("month", {"month": 1, "year yr": 12, "decade": 120, "century centurie": 1200})
_add("dollar", {"dollar usd buck $": 1, "cent penny pennie \u00a2": "1/100"})
_add("euro", {"euro \u20ac eur": 1})
_add("sterling", {"gbp \u00a3": 1})
_add("rupee", {"rupee rs inr": 1})
_add("volume", {"liter litre l": 1, "ml milliliter millilitre": "1/1000"})
_add("us volume", {"cup": 1, "pint": 2, "quart": 4, "gallon gal": 16})
_add("angle", {"degree deg": 1})
_add("radian", {"radian rad": 1})
_add("celsius", {"celsius centigrade": 1})
_add("fahrenheit", {"fahrenheit": 1})
_ALIASES = {"mph": "mile / hour", "kph": "km / hour", "kmh": "km / hour", "kmph": "km / hour"}

_MULTIPLIERS = {
    "hundred": 100,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "dozen": 12,
}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that change the number before them, so that what they follow is not a number with a unit.
_NOT_UNITS = _words(
    "or and not squared cubed factorial minus plus over half halves quarter third thirds fourths fifths "
    "point to through between choose mod modulo divided multiplied if when unless but while however maybe "
    "nor vs versus hundreds thousands millions billions dozens hundredths tenths thousandths i pi root "
    "sqrt then is was equals because since twice thrice double triple less fewer than"
)
_SAYS_NOTHING = _words(
    "total in of the all more left remaining each altogether unit units a an different ways way possible "
    "value values points long tall high away old overall respectively only exactly whole such integers "
    "integer numbers number are"
)
_COUNTS = _words("a one two three four five six seven eight nine ten another more some")
_CLEAN = (
    (
        re.compile(r"\\[dt]?frac *\{ *\\(?:text|mathrm) *\{([^{}]*)\} *\} *\{ *\\(?:text|mathrm) *\{([^{}]*)\} *\}"),
        r" \1 / \2 ",
    ),
    (re.compile(r"\\(?:text|mathrm|textrm|mbox|textbf|mathbf|operatorname|textit|mathit|rm)(?![A-Za-z])"), " "),
    (re.compile(r"\^ ?\{? ?\\circ ?\}?|\\degrees?(?![A-Za-z])|\u00b0|\\circ(?![A-Za-z])"), " degrees "),
    (re.compile(r"\\[ ,;:!]|~|\\quad(?![A-Za-z])"), " "),
    (re.compile(r"\\([%$])"), r"\1"),
    (re.compile(r"\\cdot(?![A-Za-z])"), " "),
    (re.compile(r"\u00b2"), "^2"),
    (re.compile(r"\u00b3"), "^3"),
    (re.compile(r"[{}]"), " "),
)
_TOKEN = re.compile(r"[A-Za-z]+|\^ *-?[0-9]|[/%$\u20ac\u00a3\u00a2]|-(?=[A-Za-z])|[.,](?= *$)|\((?=s\))|(?<=\(s)\)")


@dataclass(frozen=True)
class Unit:
    """The unit after a number."""

    scale: Fraction = Fraction(1)  # of words such as "million"
    percent: bool = False
    # (dimension, power) pairs and the factor to their first units; None for words that name no known unit
    dimensions: tuple[tuple[str, int], ...] | None = ()
    factor: Fraction = Fraction(1)
    words: frozenset[str] = frozenset()  # unknown words, singular

    @property
    def bare(self) -> bool:
        """Whether it says nothing of what is counted."""
        return not self.percent and self.dimensions == () and not self.words


NO_UNIT = Unit()


def parse_unit(text: str) -> Unit | None:
    """The unit ``text`` is, or None when it is something else (an operator, a variable, more numbers)."""
    text = text.strip()
    if not text:
        return NO_UNIT
    if len(text) > MAX_TEXT:
        return None
    attached = not text[0].isspace() and "\\" not in text
    spelled = "\\text" in text or "\\mathrm" in text
    for pattern, replacement in _CLEAN:
        text = pattern.sub(replacement, text)
    parenthesis = re.fullmatch(r" *\(([A-Za-z][A-Za-z/^0-9 -]*)\) *", text)  # "9 (apples)"
    tokens = _tokens(parenthesis[1] if parenthesis else text)
    if tokens is None:
        return None
    scale = Fraction(1)
    while tokens and tokens[0].lower() in _MULTIPLIERS:
        scale *= _MULTIPLIERS[tokens.pop(0).lower()]
    if [t.lower() for t in tokens] in (["%"], ["percent"], ["pct"], ["percentage"], ["per", "cent"]):
        return Unit(scale, percent=True)
    if len(tokens) == 1 and spelled and re.fullmatch("[A-Z]", tokens[0]):
        return Unit(scale, dimensions=None, words=frozenset(tokens))  # joules, newtons, ...
    if len(tokens) == 1 and len(tokens[0]) == 1 and attached and _known(tokens[0]) is None:
        return None
    return _known_unit(tokens, scale) or _worded(tokens, scale)


def _tokens(text: str) -> list[str] | None:
    tokens: list[str] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            return None
        at = match.end()
        if match.group() not in {".", ",", "-", "(", ")"}:
            tokens.extend(_ALIASES.get(match.group().lower(), match.group().replace(" ", "")).split())
    return tokens


def _known(word: str) -> tuple[str, Fraction] | None:
    """Table entry of a word, singular or plural; one letter counts in its own case only."""
    if len(word) == 1:
        return _TABLE.get("l" if word == "L" else word)
    word = word.lower()
    return _TABLE.get(word) or (_TABLE.get(word[:-1]) if word.endswith("s") else None)


def _known_unit(tokens: list[str], scale: Fraction) -> Unit | None:
    """The unit when every token belongs to one."""
    powers: dict[str, int] = {}
    factor = Fraction(1)
    sign, pending = 1, 1
    last: tuple[str, Fraction] | None = None
    words = [token for token in tokens if token.lower() not in {"unit", "units"}]
    if len(words) == 2 and words[0].lower() in {"degree", "degrees"} and words[1].upper() in {"C", "F"}:
        words = ["celsius" if words[1].upper() == "C" else "fahrenheit"]
    elif (
        len(words) == 2
        and words[0].lower() in {"degree", "degrees"}
        and (_known(words[1]) or ("", 0))[0]
        in (
            "celsius",
            "fahrenheit",
        )
    ):
        words = words[1:]
    if len(words) < len(tokens) and all(t.lower() in {"square", "sq", "cubic", "^2", "^3"} for t in words):
        return Unit(scale)  # "square units" says nothing
    for token in words:
        low = token.lower()
        if low in {"/", "per"}:
            sign, last = -1, None
        elif low in {"square", "sq"}:
            pending = 2
        elif low in {"cubic", "cu"}:
            pending = 3
        elif low in {"squared", "cubed"} or token.startswith("^"):
            power = {"squared": 2, "cubed": 3}.get(low) or int(token[1:])
            if last is None or power == 0:
                return None
            powers[last[0]] += sign * (power - 1)
            factor *= last[1] ** (sign * (power - 1))
        else:
            last = _known(token) if low != "in" else _TABLE["inch"]
            if last is None:
                return None
            powers[last[0]] = powers.get(last[0], 0) + sign * pending
            factor *= last[1] ** (sign * pending)
            pending = 1
    if pending != 1:
        return None
    return Unit(scale, dimensions=tuple(sorted((d, p) for d, p in powers.items() if p)), factor=factor)


def _worded(tokens: list[str], scale: Fraction) -> Unit | None:
    """Plain words: what is counted, in letters only."""
    words = set()
    for at, token in enumerate(tokens):
        low = token.lower()
        if low == "and" and 0 < at < len(tokens) - 1 and not _COUNTS & {word.lower() for word in tokens[at:]}:
            continue  # "clips in April and May"
        if low == "each" and at and tokens[at - 1].lower() == "in":
            return None  # "48 students in each class" are not 48 students
        if not low.isalpha() or low in _NOT_UNITS or (len(low) == 1 and low != "a"):
            return None
        words.add(low)
    if len(words) > 10:
        return None
    telling = {_singular(word) for word in words - _SAYS_NOTHING}
    return Unit(scale, dimensions=None if telling else (), words=frozenset(telling))


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word
