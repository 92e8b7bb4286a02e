r"""Answers without the words around them: "12 (rounded)", "\text{the total is } 12", "5, as required".

A remark is left where it is when it may change the answer or deny it.
"""

import re

from mindgap_data.verify.math.latex import normalise
from mindgap_data.verify.math.plain import parse_plain, same_quantity
from mindgap_data.verify.math.units import parse_unit

MAX_REMARK = 200

_CHANGES = re.compile(
    r"\b(?:or|nor|wrong|incorrect|invalid|false|mistaken?|impossible|maybe|perhaps|possibly|if|unless|times|plus|minus"
    r"|more|less|fewer|greater|least|most|hundreds?|thousands?|millions?|billions?|dozens?|half|twice|doubled?|tripled?"
    r"|squared|cubed|percent|base|modulo|mod|per|negative of|cannot|never|neither|nearly|almost|up to|without"
    r"|actually|should|but|instead|rather|also|between|except|not(?! *(?:\$|\\\(|[-0-9])))\b|n['\u2019]t\b|[?%]",
    re.IGNORECASE,
)
_LEAD_IN = re.compile(
    r"\\text *\{([^{}]{1,120}\b(?:is|are|equals|be|was|were|gives|yields|makes) *:?|[^{}]{0,60}[A-Za-z]{3} *:"
    r"|exactly|precisely|only|just|in the ratio(?: of)?|(?:thus|hence|so|therefore|then),?) *\} *(?=.)",
    re.IGNORECASE,
)
_PLAIN_LEAD_IN = re.compile(
    r"(?:(?:exactly|precisely|only|just|a total of|(?:thus|hence|so|therefore|then),?) +"
    r"|(?:[A-Za-z]+ ){0,5}[A-Za-z]{3,} *: *)(?=[-0-9\\])",
    re.IGNORECASE,
)
_CLAUSE = re.compile(
    r"(.+?)(?: *,)? *\\text *\{ *,? *"
    r"((?:as|since|because|which|so|where|when|by|due|from|after|only|for (?:all|every|any|each))\b[^{}]*)\}"
    r"(?: *[a-z])?"
)
_PLAIN_CLAUSE = re.compile(
    r"(.+?) *, *((?:as|since|because|which) [^{}]*|\\text *\{ *(?:where|since|because|with|when)\b[^0-9]*)"
)
_WORD = re.compile(r"(?<![\\A-Za-z])[a-z]{3,}|i\.e\.|[ds]\.[pf]\.|(?<![\\A-Za-z])(?:by|as|we)(?![A-Za-z])")


def spellings(text: str) -> list[str]:
    """``text``, and ``text`` normalised without the remarks around it where it has some.

    Raises:
        UnreadableError: the text is too long or hides what it says.
    """
    normal = normalise(text)
    bare = _one_period_letter(without_remarks(normal))
    return [text] if bare == normal else [text, bare]


_INTEGER = re.compile(r"[ ,]*(?:\\text *\{[^{}]{0,30}\})?[ ,(]*[kmn] *\\in *\\mathbb *\{? *Z *\}? *\)?$")
_PERIOD_LETTER = re.compile(r"(?<![A-Za-z\\])[kmn](?![A-Za-z])")


def _one_period_letter(text: str) -> str:
    """The solutions of a periodic equation with k for the integer, whichever letter stands for it."""
    if r"\pi" not in text:
        return text
    letters = set(_PERIOD_LETTER.findall(text))
    return _PERIOD_LETTER.sub("k", _INTEGER.sub("", text)) if len(letters) == 1 else text


def without_remarks(text: str) -> str:
    """A normalised answer without a lead-in before it, and a clause or a remark in brackets after it."""
    whole = re.fullmatch(r"\\text *\{([^{}]*)\}", text)
    text = whole[1].strip() if whole else text
    lead = _LEAD_IN.match(text) or _PLAIN_LEAD_IN.match(text)
    if lead and not _CHANGES.search(lead.group()):
        text = text[lead.end() :].strip()
    clause = _CLAUSE.fullmatch(text) or _PLAIN_CLAUSE.fullmatch(text)
    if clause and not _CHANGES.search(clause[2]):
        # "12, which gives 13" ends in another number; "C, which is 13" is an option.
        goes_on = re.match("which|so|where", clause[2]) and re.search("[0-9]", clause[2])
        if not goes_on or re.fullmatch(r"\(?[A-J]\)?", clause[1].strip()):
            text = clause[1].strip()
    return _without_brackets(without_restatement(text))


_RESTATED = re.compile(
    r"(.*\S) *\( *(?:(?:or|i\.e\.|that is|which is|equal to|=|about|approximately|\\approx)[ ,]*)*([^()]*?) *\)"
)


def without_restatement(text: str) -> str:
    """``text`` without a bracket behind its number that gives the same number again: "160 minutes (2 h 40 min)"."""
    match = _RESTATED.fullmatch(text)
    again = parse_plain(match[2]) if match else None
    if match is None or again is None:
        return text
    for at in re.finditer(r"(?<![0-9.,/])[-$\\]?[0-9]", match[1][-100:]):
        number = parse_plain(match[1][-100:][at.start() :])
        if number is not None:
            return match[1] if same_quantity(number, again) else text
    return text


def _without_brackets(text: str) -> str:
    closed = re.fullmatch(r"(.*[)\]])(?: *\})?", text)
    if closed is None:
        return text
    depth, at = 0, len(closed[1])
    while at > 0:
        at -= 1
        depth += (closed[1][at] in ")]") - (closed[1][at] in "([")
        if depth == 0:
            break
    before, remark = re.sub(r"\\text *\{ *$", "", text[:at]), closed[1][at + 1 : -1].strip()
    spaced = before != before.rstrip() or len(before) < at
    if depth or not spaced or not before.strip() or len(remark) > MAX_REMARK or remark.startswith(("in ", "and ")):
        return text
    if not _WORD.search(remark) or _CHANGES.search(remark) or not re.match(r"[A-Za-z]|\\text|\}|[0-9]+ [ds]\.", remark):
        return text
    # "9 (apples)": the remark is the unit.
    is_unit = closed[1].endswith(")") and parse_unit(" " + remark) is not None
    return text if is_unit else before.strip()
