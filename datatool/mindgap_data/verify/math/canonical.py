"""One form for what is written in several: number words, names of sets, inequalities and intervals."""

import re
from fractions import Fraction

from mindgap_data.verify.math.kinds import Answer, Bracketed, Formula, Relation, Text
from mindgap_data.verify.math.latex import compact
from mindgap_data.verify.math.plain import Quantity
from mindgap_data.verify.math.reading import read
from mindgap_data.verify.math.units import Unit

_NUMBER_WORDS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_PARTS = {
    "half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9,
    "tenth": 10, "twelfth": 12, "twentieth": 20, "hundredth": 100,
}  # fmt: skip
_SYNONYMS: dict[str, Answer] = {
    "all real numbers": Bracketed("(", ")", (r"-\infty", r"\infty")),
    "all reals": Bracketed("(", ")", (r"-\infty", r"\infty")),
    "infinite": Formula(r"\infty", Unit()),
    "infinitely many": Text("infinitely many"),
    **{
        words: Text("no solution")
        for words in ("no solution", "no solutions", "no real solution", "no real solutions", "empty set", "none")
    },
    **{words: Text("undefined") for words in ("dne", "does not exist", "undefined")},
}


def canonical(answer: Answer) -> Answer:
    """Spelled-out values as values, single-letter relations as intervals."""
    if isinstance(answer, Text):
        spelled = spelled_number(answer.words)
        if spelled is not None:
            return Quantity(spelled)
        return _SYNONYMS.get(re.sub("^there (?:is|are) ", "", answer.words), answer)
    if isinstance(answer, Formula):
        body = compact(answer.text)
        if body == r"\emptyset":
            return Text("no solution")
        if body == r"\mathbb{R}":
            return _SYNONYMS["all reals"]
    if isinstance(answer, Relation):
        return _interval(answer) or answer
    return answer


def spelled_number(words: str) -> Fraction | None:
    """Zero to ninety-nine, and parts of one: "twenty one", "half", "a third", "three eighths"."""
    words = words.replace("-", " ").strip()
    count, _, part = words.rpartition(" ")
    below = _PARTS.get(part) or (_PARTS.get(part.removesuffix("s")) if count not in {"", "a", "an", "one"} else None)
    if below is not None:
        above = Fraction(1) if count in {"", "a", "an", "one"} else spelled_number(count)
        return above / below if above is not None and above.denominator == 1 else None
    if words in _NUMBER_WORDS:
        return Fraction(_NUMBER_WORDS.index(words))
    ten, _, unit = words.partition(" ")
    if ten not in _TENS or (unit and unit not in _NUMBER_WORDS[1:10]):
        return None
    return Fraction(20 + 10 * _TENS.index(ten) + (_NUMBER_WORDS.index(unit) if unit else 0))


def _interval(relation: Relation) -> Answer | None:
    """The interval an inequality in one named variable describes, or what "x in S" says of x."""
    sides, signs = relation.sides, relation.signs
    if signs == ("in",) and is_name(sides[0]):
        return canonical(read(sides[1]))
    if len(sides) == 2 and signs[0] in {"<", ">", "<=", ">="}:
        if is_name(sides[1]) and not is_name(sides[0]):
            sides, signs = sides[::-1], ({"<": ">", ">": "<", "<=": ">=", ">=": "<="}[signs[0]],)
        if not is_name(sides[0]):
            return None
        bracket = "[" if signs[0] in {"<=", ">="} else "("
        if signs[0] in {">", ">="}:
            return Bracketed(bracket, ")", (sides[1], r"\infty"), from_inequality=True)
        return Bracketed("(", "]" if bracket == "[" else ")", (r"-\infty", sides[1]), from_inequality=True)
    if len(sides) == 3 and is_name(sides[1]):
        if set(signs) <= {">", ">="}:
            sides, signs = sides[::-1], tuple({">": "<", ">=": "<="}[sign] for sign in signs[::-1])
        if set(signs) <= {"<", "<="}:
            return Bracketed(
                "[" if signs[0] == "<=" else "(",
                "]" if signs[1] == "<=" else ")",
                (sides[0], sides[2]),
                from_inequality=True,
            )
    return None


_NAME = re.compile(
    r"(?:\\(?:angle|triangle|overline|vec|hat|bar|widehat|measuredangle|mathcal|mathbf|operatorname|text)(?![A-Za-z])|m\\angle)?"
    r"[ {]*(?:\\text *\{[^{}]*\}|\\(?!pi(?![A-Za-z]))[a-z]+|[A-Za-z][A-Za-z]{0,3}|[A-Za-z][A-Za-z ]{3,40})[ }]*"
    r"(?:_(?:[0-9A-Za-z]|\{[^{}]{1,20}\}))?'{0,3}(?:\^\{-1\})?(?:\([^()]{0,20}\))?(?:_(?:[0-9A-Za-z]|\{[^{}]{1,20}\}))?"
    r"|\\frac\{d[A-Za-z]?\}\{d[A-Za-z]\}|\|[A-Z]{1,3}\||\[[A-Z]{3,8}\]"
    r"|\((?:[a-z]|\\[a-z]+)(?:, ?(?:[a-z]|\\[a-z]+)){1,3}\)"
    r"|[A-Za-z](?: ?: ?[A-Za-z]){1,4}"
)


def is_name(text: str) -> bool:
    """Whether a side of a relation only names what is asked for: x, x_1, f(x), AB, \\angle ABC, Area."""
    return bool(_NAME.fullmatch(text.strip())) and text.strip() not in {"e", "i"}
