"""What a response without a marked answer concludes with in its last sentence, as small models do.

Only a sentence that concludes counts: not a question, a doubt, a condition or an alternative.
"""

import re

from mindgap_data.verify.answers import strip_thinking
from mindgap_data.verify.math.plain import parse_plain
from mindgap_data.verify.math.units import parse_unit

_WORDED_NUMBER = re.compile(
    r"(?<![\w.\u2212-])(?:[-\u2212]\s?)?[$\u20ac\u00a3]?"
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]{1,18})(?:\.[0-9]{1,18})?(?![\w]|\.[0-9]|/[0-9])"
)
_COMPOUND = re.compile(r"(?<![0-9.,])[0-9]+ [a-z]+,?(?: and)? [0-9]+ [a-z]+$")
_ENDING = re.compile(r".*(?:\b(?:is|are|was|were|equals?)|=)\s*:?\s*(\S[^=]{0,80}?)[.!]?$")
_CONCLUSION = re.compile(
    r"(?:so|therefore|thus|hence|finally|altogether|overall|in total|in all|in conclusion|as a result|this means"
    r"|that means|consequently)\b",
    re.IGNORECASE,
)
_INSTRUCTION = re.compile(
    r"(?:(?:now|then|next|so|and|finally),? )?(?:(?:we|i|let us|let's|you)(?:'ll)? )?"
    r"(?:(?:will|can|must|need to|have to) )?"
    r"(?:substitute|add|subtract|multiply|divide|use|using|check|verify|plug|set|note|notice|recall|compute|calculate|find"
    r"|solve|take|round|count|combine|simplify|replace|apply|put|insert)\b",
    re.IGNORECASE,
)
_NO_CONCLUSION = re.compile(
    r"\?|\b(?:not|cannot|unknown|if|maybe|perhaps|might|could|about|approximately|around|nearly|almost|at least"
    r"|at most|more than|less than|between|either|or|let|suppose|assume|need to|step|example|guess|impossible|unclear"
    r"|wrong|incorrect|halved|doubled|tripled|but|none|however|unless|consider|too|negative|minus|half"
    r"|twice|double|triple|times|squared|root|multiple|greater|fewer|rule|except|given|first"
    r"|start(?:s|ed|ing)?|beg[aiu]n|begins|originally|initially|steps?|depends?|assuming|option|problem|question|equation|figure|page|chapter)\b|n['\u2019]t\b",
    re.IGNORECASE,
)


def closing_number(response: str) -> str | None:
    """The number a response ends in, for models that conclude in prose ("So she has 12 apples.").

    Only the last sentence of the last line counts, and only when it concludes: it is not a question, has
    no doubt, denial, condition or alternative, and either states one number alone, or one after its last
    "=", or opens with "So", "Therefore", ... and ends in it. Otherwise there is no answer: None.
    """
    line = re.sub(r"\*\*|\\[()\[\]]", "", _last_line(response)).replace("\\$", "$").strip().strip("*_`# ")
    sentences = [part for part in re.split(r"(?<=[^\s.][.!])\s+", line) if part.strip()]
    if not sentences:
        return None
    sentence = sentences[-1]
    if len(sentence) > 400 or _NO_CONCLUSION.search(sentence) or _INSTRUCTION.match(sentence):
        return None
    ending = _ENDING.search(sentence)
    if ending and parse_plain(ending[1]) is not None:
        return ending[1].strip()
    compound = _COMPOUND.search(sentence.rstrip(".! "))
    if compound and parse_plain(compound.group()) is not None:
        return compound.group()
    _, equals, right = sentence.rpartition("=")
    part = right if equals else sentence
    matches = list(_WORDED_NUMBER.finditer(part))
    numbers = [match.group() for match in matches]
    if not numbers or re.search(r"[0-9][0-9.,]*\s*(?:[*/^\u00d7\u00f7+]|\\)", part):
        return None
    if len({number.replace(",", "") for number in numbers}) > 1 and (equals or not _CONCLUSION.match(sentence)):
        return None
    with_unit = re.sub(r" (?:in total|in all|altogether|overall)$", "", part[matches[-1].start() :].rstrip(".! "))
    if len(sentences) > 1 and with_unit == sentence.rstrip(".! "):
        return None  # a bare number after other sentences
    return with_unit if parse_plain(with_unit) is not None else numbers[-1]


_CLAUSE = re.compile(
    r"[A-Za-z][^\d$]{0,80}\b(?:has|have|had|is|are|was|were|costs?|makes?|made|earns?|earned|spent|spends?|pays?|paid"
    r"|needs?|gets?|got|sold|took|takes?|be|comes? (?:out )?to|came (?:out )?to|equals?|totals?|counts?|counted|weighs?"
    r"|measures?|travels?|walks?|runs?|ran|saves?|saved|uses?|used|collects?|receives?|contains?|holds?|requires?"
    r"|bought|buys|ate|won)\b",
    re.IGNORECASE,
)
_NO_SENTENCE = re.compile(r"[_^{}]|\\(?![$%])|\b(?:third|quarter|fifth|sixth|seventh|eighth|ninth|tenth)s? of\b")
_GROUP = re.compile(r"\\(?:text[a-z]*|mathrm|mbox) ?\{([^{}]*)\}")


def stated_in_sentence(answer: str) -> str | None:
    """The number of an answer that is a sentence: "Tom has 12 left"; None where it states none, or several."""
    plain = " ".join(_GROUP.sub(r" \1 ", answer[:2000]).split())
    return closing_number(plain) if _CLAUSE.match(plain) and not _NO_SENTENCE.search(plain) else None


_BOLD_LIST = re.compile(
    r"[A-Za-z][^*\n]{1,300} (\*\*[^*\n]{1,100}\*\*(?:(?:,| and|, and| or) \*\*[^*\n]{1,100}\*\*){0,9})[.!]?"
)
_FORMULA = re.compile(
    r"(?:\b(?:is|are|equals)\b|=|^(?:So|Thus|Hence|Therefore),?)\s*:?\s*(?:\$([^$]{1,400})\$|\\\((.{1,400}?)\\\))"
    r"([ A-Za-z]{0,40})[.!]?$"
)
_NOTHING = re.compile(r"there (?:is|are) (no (?:real )?solutions?)[.!]?$", re.IGNORECASE)


def closing_bold(response: str) -> str | None:
    """What a closing sentence ends in, in bold type ("The vertex is at **(3, -1)**."); several are a list."""
    line = _last_line(response)
    match = _BOLD_LIST.fullmatch(line)
    if match is None or _doubtful(line[: match.start(1)]):
        return None
    return match[1].replace("**", "").rstrip(".,:; ") or None


def closing_formula(response: str) -> str | None:
    """The formula in dollars a closing sentence ends in after "is" or "=" ("So the side is $2\\sqrt{3}$.")."""
    line = _last_line(response).replace("**", "")
    nothing = _NOTHING.search(line)
    if nothing and not _doubtful(line[: nothing.start()]):
        return nothing[1]
    match = _FORMULA.search(line)
    if match is None or _doubtful(line[: match.start()]) or (match[3] and parse_unit(match[3]) is None):
        return None
    return (match[1] or match[2]).strip() + (rf" \text{{{match[3]}}}" if match[3] else "")


def _last_line(response: str) -> str:
    body = strip_thinking(response)
    return "" if body is None else body[-2000:].strip().rsplit("\n", 1)[-1]


def _doubtful(before: str) -> bool:
    """Whether the sentence that ``before`` leaves open does not conclude."""
    return bool(_NO_CONCLUSION.search(re.split(r"[.!?]\s", before)[-1]))
