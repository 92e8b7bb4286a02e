"""What a response without a marked answer concludes with in its last sentence, as small models do.

Only a sentence that concludes counts: not a question, a doubt, a condition or an alternative.
"""

import re

from mindgap_data.verify.math.canonical import spelled_number
from mindgap_data.verify.math.choices import closing_letter
from mindgap_data.verify.math.marked import closing_marked
from mindgap_data.verify.math.plain import parse_plain
from mindgap_data.verify.math.remarks import without_restatement
from mindgap_data.verify.math.sentences import is_open, last_line, may_name_numbers, sentences

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
_RATIO = re.compile(r"\bratio\b.*(?:\bis|=) *([0-9]+(?: to [0-9]+){1,3})[.!]?$", re.IGNORECASE)
_WORDS = re.compile(
    r".*\b(?:is|are|was|were)(?: simply| just| exactly| called)?"
    r" ((?:an? |the )?[A-Za-z][A-Za-z'-]*(?: [A-Za-z'-]+){0,4})[.!]?"
)
_LETTERS_ASKED = re.compile(r"(?:\\text[a-z]*\s?\{)?\(?[A-J]\)?(?:(?:, ?| and )?\(?[A-J]\)?)*\}?")
_NOTHING = re.compile(r"there (?:is|are) (no (?:real )?solutions?)[.!]?$", re.IGNORECASE)


def closing_answer(response: str, gold: str, is_number: bool) -> str | None:
    """What a response without a marked answer concludes with, of the kind that is asked for; None where nothing.

    Args:
        gold: the reference, which tells whether letters or words are asked for.
        is_number: whether it is a plain number.
    """
    marked = closing_marked(response)
    if is_number:
        return marked or closing_number(response) or closing_spelled(response)
    if _LETTERS_ASKED.fullmatch(gold):
        return closing_letter(response) or marked
    return marked or closing_letter(response) or closing_number(response) or closing_words(response)


def closing_number(response: str) -> str | None:
    """The number a response ends in, for models that conclude in prose ("So she has 12 apples.").

    Only the last sentence of the last line counts, and only when it concludes: it is not a question, has
    no doubt, denial, condition or alternative, and either states one number alone, or one after its last
    "=", or opens with "So", "Therefore", ... and ends in it. Otherwise there is no answer: None.
    """
    line = _unmarked(last_line(response))
    parts = sentences(line)
    if not parts:
        return None
    sentence = parts[-1]
    if len(sentence) > 400 or is_open(sentence) or may_name_numbers(sentence) or _INSTRUCTION.match(sentence):
        return None
    if ratio := _RATIO.search(sentence):
        return ratio[1]
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
    if len(parts) > 1 and with_unit == sentence.rstrip(".! "):
        return None  # a bare number after other sentences
    return with_unit if parse_plain(with_unit) is not None else numbers[-1]


# A subject, and a verb right before the number.
_CLAUSE = re.compile(
    r"(?:[A-Za-z][^\d$]{0,80}\b(?:has|have|had|is|are|was|were|costs?|makes?|made|earns?|earned|spent|spends?|pays?|paid"
    r"|needs?|gets?|got|sold|took|takes?|be|comes? (?:out )?to|came (?:out )?to|equals?|totals?|counts?|counted|weighs?"
    r"|measures?|travels?|walks?|runs?|ran|saves?|saved|uses?|used|collects?|receives?|contains?|holds?|requires?"
    r"|bought|buys|ate|won)\b"
    r"|(?:The |In |So |[A-Z][a-z]+ )[^\d$]{0,80}[a-z]{3,}(?:s|ed) (?:a total of |exactly |only |over )?(?=[$0-9]))",
    re.IGNORECASE,
)
_NO_SENTENCE = re.compile(r"[_^{}]|\\(?![$%])|\b(?:third|quarter|fifth|sixth|seventh|eighth|ninth|tenth)s? of\b")
_GROUP = re.compile(r"\\(?:text[a-z]*|mathrm|mbox) ?\{([^{}]*)\}")


def stated_in_sentence(answer: str) -> str | None:
    """The number of an answer that is a sentence: "Tom has 12 left"; None where it states none, or several."""
    plain = without_restatement(" ".join(_GROUP.sub(r" \1 ", answer[:2000]).split()))
    return closing_number(plain) if _CLAUSE.match(plain) and not _NO_SENTENCE.search(plain) else None


def closing_words(response: str) -> str | None:
    """The words a last sentence ends in after "is" or "are", or that there is no solution."""
    parts = sentences(_unmarked(last_line(response)))
    sentence = parts[-1].strip() if parts else ""
    nothing = _NOTHING.search(sentence)
    if nothing and not is_open(sentence[: nothing.start()]):
        return nothing[1]
    words = _WORDS.fullmatch(sentence)
    return words[1] if words and not is_open(sentence) else None


def closing_spelled(response: str) -> str | None:
    """A number in words that a last sentence ends in: "one eighth"."""
    words = closing_words(response)
    return words if words is not None and spelled_number(words.lower()) is not None else None


def _unmarked(line: str) -> str:
    return re.sub(r"\*\*|\\[()\[\]]", "", line).replace("\\$", "$").strip().strip("*_`# ")
