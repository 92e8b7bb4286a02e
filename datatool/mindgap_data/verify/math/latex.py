r"""One spelling for what LaTeX, plain text and Unicode spell in many: an answer before it is read."""

import re
import unicodedata

MAX_TEXT = 5_000


class UnreadableError(Exception):
    """An answer too long to read, or with characters that hide what it says."""


_INVISIBLE = re.compile("[\u200b\u200c\u200d\u2060\ufeff\u00ad]")
# Control characters, and those that reorder what a reader sees.
_HIDING = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ue000-\uf8ff\ufff0-\uffff]"
)
_CHARACTERS = {
    "\u2212": "-", "\u2013": "-", "\u2014": "-", "\u2010": "-", "\u2011": "-", "\ufe63": "-", "\uff0d": "-",
    "\u00d7": r"\times ", "\u00b7": r"\cdot ", "\u22c5": r"\cdot ", "\u2217": "*", "\u00f7": "/", "\u2215": "/",
    "\u2044": "/", "\u2264": r"\le ", "\u2a7d": r"\le ", "\u2265": r"\ge ", "\u2a7e": r"\ge ", "\u2260": r"\ne ",
    "\u2248": r"\approx ", "\u221e": r"\infty ", "\u03c0": r"\pi ", "\u03b8": r"\theta ", "\u03b1": r"\alpha ",
    "\u03b2": r"\beta ", "\u03bb": r"\lambda ", "\u00b0": r"^\circ ", "\u222a": r"\cup ", "\u2229": r"\cap ",
    "\u2208": r"\in ", "\u2205": r"\emptyset ", "\u00b1": r"\pm ", "\u2213": r"\mp ", "\u211d": r"\mathbb{R}",
    "\u2026": r"\ldots ", "\u27e8": r"\langle ", "\u27e9": r"\rangle ", "\u221b": r"\sqrt[3]", "\u2019": "'",
}  # fmt: skip
_SUPERSCRIPTS = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b\u207f", "0123456789-n"
)
_SUBSCRIPTS = str.maketrans("\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089", "0123456789")
_FRACTIONS = {"\u00bd": "1/2", "\u2153": "1/3", "\u2154": "2/3", "\u00bc": "1/4", "\u00be": "3/4", "\u215b": "1/8"}

_SPACES = re.compile(
    r"(?<!\\)\\[;: >]|~|\\q?quad(?![A-Za-z])|\\hfill|\\[hv]space\*?\{[^{}]*\}|\\phantom\{[^{}]*\}"
    r"|\\enspace|\\thinspace|[\t\r\n]"
)
_DROPPED = re.compile(
    r"\\!|\\(?:left|right|big|Big|bigg|Bigg|middle|bigl|bigr|Bigl|Bigr|biggl|biggr|Biggl|Biggr|displaystyle|textstyle"
    r"|limits|nolimits|mathstrut|nonumber|boxed(?=\{)|strut)(?![A-Za-z])\.?"
)
_TEXT = re.compile(
    r"\\(?:textbf|textit|textrm|textnormal|textsf|mathrm|mathbf|mathit|mathsf|boldsymbol|bm|mbox|hbox)(?![A-Za-z])"
)
_CONSTANT = re.compile(
    r"\\(?:mathrm|mathbf|mathit|mathsf|text|operatorname|rm|textrm)(?: ?\{ ?([ei]) ?\}| +([ei])(?![A-Za-z]))"
)
_OPERATOR = re.compile(
    r"\\(?:operatorname\*?|mathrm|text|textrm) ?"
    r"\{ ?(sin|cos|tan|cot|sec|csc|log|ln|exp|arcsin|arccos|arctan|gcd|lcm|max|min) ?\}"
)
_REALS = re.compile(r"\\(?:mathbb|Bbb|mathbf|bf) ?\{? ?R ?\}?(?![A-Za-z])|\\R(?![A-Za-z])")
_SYNONYMS = (
    (re.compile(r"\\(?:leq|leqslant|lt(?=e))(?![A-Za-z])|<=|=<"), r"\\le "),
    (re.compile(r"\\(?:geq|geqslant)(?![A-Za-z])|>="), r"\\ge "),
    (re.compile(r"\\(?:neq|not ?=)(?![A-Za-z])|!=(?!=)|/="), r"\\ne "),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\(?:dbinom|tbinom)(?![A-Za-z])"), r"\\binom"),
    (re.compile(r"\{([^{}]*)\\choose(?![A-Za-z])([^{}]*)\}"), r"\\binom{\1}{\2}"),
    (re.compile(r"\\text *\{ *(?:is )?to *\}"), " to "),
    (re.compile(r"\\(?:overline|overrightarrow|overleftrightarrow) *\{ *([A-Z]{2,3}) *\}"), r"\1"),
    (re.compile(r"(?<=[0-9 ])([apAP])\. ?[mM]\.?(?![a-z])"), r"\1m"),
    (re.compile(r"^(?:negative|minus) (?=[0-9])", re.IGNORECASE), "-"),
    (re.compile(r"\\(?:varnothing)(?![A-Za-z])|\\\{ *\\\}"), r"\\emptyset "),
    (re.compile(r"\\(?:lbrace)(?![A-Za-z])"), r"\\{"),
    (re.compile(r"\\(?:rbrace)(?![A-Za-z])"), r"\\}"),
    (re.compile(r"\\(?:[lr]vert|vert|mid)(?![A-Za-z])"), "|"),
    (re.compile(r"\\(?:colon)(?![A-Za-z])|(?:\\(?:text|mathbin|mathrel) *)?\{ *: *\}"), ":"),
    (re.compile(r"\\(?:dots|cdots|dotsc|dotsb)(?![A-Za-z])|\.\.\."), r"\\ldots "),
    (re.compile(r"\^ ?\{ ?\\circ ?\}|\^ ?\\circ(?![A-Za-z])|\\degrees?(?![A-Za-z])"), r"\\text{ degrees}"),
    (re.compile(r"\\(?:simeq|sim|approxeq|thickapprox)(?![A-Za-z])"), r"\\approx "),
    (re.compile(r"\\(?:bmod|pmod|mod)(?![A-Za-z])"), r"\\mod "),
    (re.compile(r"\\frac *([0-9]) *([0-9])(?![0-9])"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac *([0-9])(?= *\{)"), r"\\frac{\1}"),
    (re.compile(r"(\\frac *\{[^{}]*\}) *([0-9])"), r"\1{\2}"),
    (re.compile(r"\\sqrt *([0-9a-zA-Z])"), r"\\sqrt{\1}"),
    (re.compile(r"(?<![\\A-Za-z])(?:np|numpy|math|sympy)\.(?=[a-z])"), ""),
    (re.compile(r"\*\* *(-?[0-9]+(?:\.[0-9]+)?)"), r"^{\1}"),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\^ *(-?[0-9]{2,})"), r"^{\1}"),
    (re.compile(r"\\(exp|ln|log|sin|cos|tan) *\\\{([^{}]*)\\\}"), r"\\\1(\2)"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"(?<![\\A-Za-z])(?:sqrt)(?= *[({0-9])"), r"\\sqrt"),
    (re.compile(r"\\sqrt *\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<![\\A-Za-z])(pi|infty)(?![A-Za-z])"), r"\\\1 "),
    (re.compile(r"(?<![\\A-Za-z])(?:infinity|inf|oo)(?![A-Za-z])"), r"\\infty "),
    (re.compile(r"(?<![\\A-Za-z])(arcsin|arccos|arctan|sin|cos|tan|cot|sec|csc|log|ln)(?=[ (0-9^]|$)"), r"\\\1"),
    (re.compile(r"(?<![\\A-Za-z])U(?= *[\[(])(?<=[\])] U)|(?<=[\])])U(?=[\[(])"), r"\\cup "),
)  # fmt: skip
_JOIN = re.compile(
    r",? *\\text *\{ *,? *(and|or) *\} *,?|,? +(?<![A-Za-z])(and|or)(?![A-Za-z]) +"
    r"|\\(?:land|wedge)(?![A-Za-z])|\\(lor|vee)(?![A-Za-z])"
)


def normalise(text: str) -> str:
    """``text`` in one spelling; alternatives are joined by " or ", lists by ", ".

    Raises:
        UnreadableError: longer than ``MAX_TEXT``, or with control or reordering characters.
    """
    if len(text) > MAX_TEXT:
        raise UnreadableError(f"an answer of {len(text)} characters")
    text = _INVISIBLE.sub("", text)
    if _HIDING.search(text):
        raise UnreadableError("control or reordering characters")
    text = re.sub("^ *\\(?([A-J])\\)? ?[\u2013\u2014] (?=.)", r"(\1) ", text)  # "B \u2013 12"
    text = _spell_characters(text)
    text = _undollar(text).strip("` ")
    text = re.sub(r"\\texttt ?\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"^ *~ *(?=[-0-9.])", r"\\approx ", text)
    text = _SPACES.sub(" ", text)
    text = re.sub(r"(?<=[0-9]),?\\[,!](?:\\!)? ?(?=[0-9]{3}(?![0-9]))", ",", text)
    text = text.replace(r"\,", " ")
    text = _DROPPED.sub("", text)
    text = re.sub(r"\{ ?\\(rm|bf|it|sf)(?![A-Za-z]) ?([^{}]*)\}", r"\\mathrm{\2}", text)
    text = re.sub(r"\\(rm|bf|it|sf)(?![A-Za-z])", "", text)
    text = _REALS.sub(r"\\mathbb{R}", text)
    text = _CONSTANT.sub(r" \1\2", text)
    text = _OPERATOR.sub(r"\\\1 ", text)
    text = re.sub(r"\\mathop ?\{ ?(\\[a-z]+) ?\}", r"\1 ", text)
    text = _TEXT.sub(r"\\text", text)
    for pattern, replacement in _SYNONYMS:
        text = pattern.sub(replacement, text)
    text = _JOIN.sub(lambda match: " or " if "or" in (match[1], match[2]) or match[3] else ", ", text)
    text = re.sub(r" +", " ", text).strip()
    return _strip_stop(text)


def compact(text: str) -> str:
    """``text`` without spaces that mean nothing, for comparison as text."""
    text = re.sub(r"([\^_]) *([0-9A-Za-z])", r"\1{\2}", text)
    return re.sub(r"(?<![0-9A-Za-z]) +| +(?![0-9A-Za-z])", "", text)


def _spell_characters(text: str) -> str:
    if text.isascii():
        return text
    text = re.sub(
        "[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b\u207f]+",
        lambda m: "^{" + m.group().translate(_SUPERSCRIPTS) + "}",
        text,
    )
    text = re.sub("[\u2080-\u2089]+", lambda m: "_{" + m.group().translate(_SUBSCRIPTS) + "}", text)
    text = re.sub("\u221a *(\\([^()]*\\)|[0-9A-Za-z]+)", lambda m: r"\sqrt{" + m[1].strip("()") + "}", text)
    for character, fraction in _FRACTIONS.items():
        text = text.replace(character, f" {fraction} ")
    for character, spelling in _CHARACTERS.items():
        text = text.replace(character, spelling)
    return unicodedata.normalize("NFKC", text)


def _undollar(text: str) -> str:
    """Math delimiters removed; a dollar sign that means money becomes ``\\$``."""
    text = re.sub(r"(?<!\\)\\[()\[\]]", " ", text) if re.search(r"\\[(\[]", text) else text
    text = re.sub(r"\\text *\{ *\\?\$ *\}", r"\\$", text)
    bare = re.findall(r"(?<!\\)\$", text)
    if len(bare) % 2 == 0 and not re.fullmatch(r"\s*(?:\$[0-9][0-9.,]*(?:\s*(?:,|and|or|,\s*and)\s*|\s*)){2,}", text):
        return re.sub(r"(?<!\\)\$", "", text)
    return re.sub(r"(?<!\\)\$", r"\\$", text)


def _strip_stop(text: str) -> str:
    while text and text[-1] in ".,;:" and not text.endswith("\\" + text[-1]):
        text = text[:-1].rstrip()
    while _is_group(text):
        text = text[1:-1].strip()
    return text


def _is_group(text: str) -> bool:
    """Whether one pair of braces holds all of ``text`` and only groups it: a set has commas."""
    if not (text.startswith("{") and text.endswith("}")):
        return False
    depth = 0
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if (depth == 0 and at < len(text) - 1) or (depth == 1 and character == ","):
            return False
    return True
