r"""Finding the answer in a text: pure string functions, every one linear in the text's length.

The order of search in a response, most explicit first:

1. the last balanced ``\boxed{}`` (several joined by "and", "or" or a comma are one list of answers);
2. what follows the last ``####``;
3. the last "the answer is ...", "Answer: ..." or "Final answer" heading;
4. a response that is nothing but one line without prose ("3/4", "B").

A statement that its own sentence denies ("the answer is not 7") or its author takes back ("wait,
that's wrong") does not count.
"""

import re
from dataclasses import dataclass
from typing import Literal

from mindgap_data.verify.boxes import MAX_ANSWER, find_boxes, last_boxed, unwrap

# Answers are near the end: only this much of a longer text is read.
TAIL = 200_000
MAX_BARE = 200

_THINK_CLOSE = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_THINK_OPEN = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
# Between two boxes: what only spaces them, what says they are a list, and what may be said between them.
_SPACING = re.compile(
    r"\n\s*(?:[-*\u2022]|[0-9]{1,2}[.)])\s|\\[,;:! ()\[\]]|\\q?quad(?![A-Za-z])|\\hspace\*?\{[^{}]{0,20}\}"
    r"|\\\\|[\s$~().]"
)
_WIDE = re.compile(r"\\\\|\\q?quad(?![A-Za-z])|\\hspace\*?\{[^{}]{0,20}\}|\\[,;:]|\n\s*(?:[-*\u2022]|[0-9]{1,2}[.)])\s")
_JOINED = re.compile(
    r"[,;&]?(?:\\?&)? ?(?:and|or|while)? ?(?:as well as|along with|together with"
    r"|also|else|(?:the )?(?:other|second|third)(?: one| root| solution| value)?(?: is)?)?"
    r" ?(?:[a-z](?:_\{?[a-z0-9]\}?)? ?(?:=|is))?"
)
_MARKER = re.compile(
    r"\b(?:answers?|solutions?|ans|(?:correct|right) (?:option|choice))\b[ \t*_]{0,4}"
    r"(?:(?:to|of|for)\b[^\n.:=]{0,80}?)?[ \t*_]{0,4}"
    r"(?:\b(?:is|are|was|would be|will be|must be|should be|equals|comes out to|becomes)\b"
    r"|[:=\uff1a]|[-\u2013\u2014](?=\s)|is:)[ \t:*_]{0,6}",
    re.IGNORECASE,
)
_LABEL = re.compile(r"^\s*\**(?:the |final ){0,2}answer\**(?: is)?\s*[:=]?\**\s*", re.IGNORECASE)
_BOLD = re.compile(r"(?<![^\s(])\*\*([^\s*](?:[^*\n]{0,200}[^\s*])?)\*\*(?=[\s.,:;!?)]|$)")
_TAGGED = re.compile(r"<answer>([^<]{1,2000})</answer>", re.IGNORECASE)
_HEADING = re.compile(r"^[ \t#*_]{0,8}(?:final |the )?answer[ \t:*_#]{0,8}\n\s{0,20}", re.IGNORECASE | re.MULTILINE)
_PROSE = re.compile(
    r"\n|(?<![\\A-Za-z])[A-Za-z]{2,}[.!?]$|(?<![\\A-Za-z])[A-Za-z]{2,}[.,]?\s+\S|\s(?<![\\A-Za-z])[A-Za-z]{2,}"
)
_DENIED_BEFORE = re.compile(
    r"(?:\bnot|n['\u2019]t|\bnever|\bneither|\bcannot(?: be)?|\bwrong|\bincorrect|\brather than|\binstead of|\bexcept)"
    r"(?: (?:equal|equal to|be|simply|just|actually|the|answer|is|value|as|to))*[\s:$*(]*$",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"^[\s$*.)\]\\,]{0,10}(?:is|was|would be|seems|looks|cannot be|can['\u2019]t be|isn['\u2019]t|is not|was not)\s+"
    r"(?:clearly |obviously |actually |definitely )?"
    r"(?:not|wrong|incorrect|false|impossible"
    r"|too (?:big|small|large)|right\?|correct\?|the (?:right |correct )?answer\?)",
    re.IGNORECASE,
)
_NOT_AFTER = re.compile(
    r"^[\s$*.)\]\\,]{0,10}\?|^[\s$*.)\]\\,]{0,10}(?:isn['\u2019]t|is not|was not|cannot be|can['\u2019]t be)\b",
    re.IGNORECASE,
)
_RETRACTED = re.compile(
    r"(?:that|this|it|which|above|answer|result)(?:['\u2019]s| is| was| seems| looks| must be)"
    r"(?: clearly| obviously| actually)? (?:wrong|incorrect|not (?:right|correct)|a mistake|an error|mistaken)"
    r"|\bno,? wait\b|\bit should (?:actually |really )?be\b"
    r"|\bI (?:made|was) (?:a mistake|an error|wrong)|\bscratch that\b|\bignore that\b|\b(?:wait|hmm)\b[,.! ]{1,3}no\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Found:
    """An answer as the response writes it."""

    text: str  # never empty
    how: Literal["boxed", "hashes", "stated", "whole", "closing"]


def strip_thinking(text: str) -> str | None:
    """What a response says after its thinking block; None when the block never closes.

    Everything up to the last ``</think>`` is dropped (chat templates often open the block in the
    prompt, so the opening tag may be missing). A text with no such tag is returned as it is.
    """
    if "think" not in text.lower():
        return text
    end = 0
    for match in _THINK_CLOSE.finditer(text):
        end = match.end()
    rest = text[end:]
    return None if _THINK_OPEN.search(rest) else rest


def reference_answer(text: str) -> str | None:
    r"""The reference answer of a worked solution: its last ``\boxed{}``, or what follows its last ``####``."""
    boxed = last_boxed(text)
    if boxed:
        return boxed
    return after_hashes(text)


def gold_answer(answer: str) -> str:
    r"""The reference answer itself, where the field holds it in a ``\boxed{}`` or after ``####``."""
    return (last_boxed(answer) or answer.rpartition("####")[2]).strip()


def after_hashes(text: str) -> str | None:
    """The rest of the line after the last ``####`` (GSM8K's mark), or None."""
    at = text.rfind("####")
    if at < 0:
        return None
    lines = text[at + 4 :].lstrip("# \t").strip().splitlines()
    return (_LABEL.sub("", lines[0]).strip() or None) if lines else None


def find_answer(response: str) -> Found | None:
    """The answer a response states, after its thinking block; None when it states none."""
    body = _body(response)
    if body is None:
        return None
    found = _boxed_answer(body)
    if found is not None:
        return found[0]
    hashes = after_hashes(body)
    if hashes:
        return Found(_tidy(hashes), "hashes") if _tidy(hashes) else None
    tags = _TAGGED.findall(body)
    stated = _tidy(tags[-1]) if tags else _last_stated(body)
    if stated:
        return Found(stated, "stated")
    bare = _tidy(body) if len(body) <= MAX_BARE else ""
    if bare.lower() in {"yes", "no", "true", "false"}:
        return Found(bare, "whole")
    return Found(bare, "whole") if re.search(r"\w", bare) and not _PROSE.search(body.strip()) else None


def stated_after_box(response: str) -> str | None:
    """What "the answer is ..." says after the last box, where a response goes on to say it; else None."""
    body = _body(response)
    if body is None:
        return None
    boxes, _ = find_boxes(body)
    return _last_stated(body[boxes[-1][2] :]) if boxes else None


def _body(response: str) -> str | None:
    """What is read of a response: the end of what follows its thinking block, without bold type."""
    body = strip_thinking(response)
    return None if body is None else _BOLD.sub(r"\1", body[-TAIL:])


def _boxed_answer(body: str) -> tuple[Found | None] | None:
    """(answer,) of the boxes; (None,) when the boxes give none; None when there is no box."""
    boxes, unclosed = find_boxes(body)
    if unclosed >= 0 and (not boxes or unclosed > boxes[-1][0]):
        return (None,)
    if not boxes:
        return None
    start, _, end = boxes[-1]
    before, after = body[max(0, start - 80) : start], body[end + 1 : end + 1 + 2000]
    if _DENIED_BEFORE.search(before) or _DENIED_AFTER.search(after) or _NOT_AFTER.search(after):
        return (None,)
    if _RETRACTED.search(after) and not _last_stated(after):
        return (None,)
    content = ", ".join(_joined_boxes(body, boxes))
    return (Found(content, "boxed"),) if content else (None,)


def _joined_boxes(body: str, boxes: list[tuple[int, int, int]]) -> list[str]:
    """The last box and those before it that one separator joins to it, in order."""
    first = len(boxes) - 1
    while first > 0 and len(boxes) - first < 20:
        between = body[boxes[first - 1][2] + 1 : boxes[first][0]]
        if len(between) > 60 or not _is_joint(between):
            break
        first -= 1
    contents = [unwrap(body[start:end]) for _, start, end in boxes[first:]]
    return [content for content in dict.fromkeys(contents) if content]


def _is_joint(between: str) -> bool:
    """Whether what stands between two boxes makes one list of them: "and", a comma, a wide space, bullets."""
    plain = re.sub(r"\\text *\{([^{}]*)\}", r" \1 ", between)
    said = " ".join(_SPACING.sub(" ", plain).split()).lower()
    joined = re.match("[,;&]|and|or|while|as|along|together", said) or _WIDE.search(between)
    return bool(joined and _JOINED.fullmatch(said))


def _last_stated(text: str) -> str | None:
    """Payload of the last "answer is" statement or answer heading."""
    best: re.Match[str] | None = None
    for pattern in (_MARKER, _HEADING):
        for match in pattern.finditer(text):
            if best is None or match.end() >= best.end():
                best = match
    if best is None:
        return None
    rest = text[best.end() : best.end() + 2000]
    if _RETRACTED.search(rest) or re.match(r"\s*(?:not|never|neither|n['\u2019]t)\b", rest, re.IGNORECASE):
        return None
    return _payload(rest) or None


_MATH = r"(?:\$\$?[^$\n]{1,500}\$\$?|\\\([^\n]{1,500}?\\\)|\\\[[^\[]{1,500}?\\\])"
_MATH_LIST = re.compile(
    rf"\s*(?:(?:either|both) )?({_MATH}(?:\s*(?:,|and|or|,\s*and|,\s*or)\s*{_MATH}){{0,9}})\s*(%|\\%|[^\n]*)"
)
_SENTENCE_END = re.compile(r"(?<=[^\s])[.!](?=\s|$|\*|\")|\n|(?<=\w)\?|;")
_TRAILING_CLAUSE = re.compile(
    r",?\s+(?:because|since|which|who|as we|as shown|as required|so that|when|where|if|after|given|but|hence|thus"
    r"|therefore|making|in this case)\b|,\s+(?:so|not|and not|the|we|i|this|that|rather)\b"
    r"|\s+(?:--|\u2014|\u2013)\s+[a-z]|\s+(?:not|rather than|instead of)\s|\s+\(?(?:because|since)\b",
    re.IGNORECASE,
)


def _payload(rest: str) -> str:
    """The answer at the start of what follows "the answer is": math in dollars, or up to the sentence's end."""
    rest = rest.lstrip(" \t*_:\n")
    math = _MATH_LIST.match(rest)
    # "$5 and not $6" are dollar signs, not math.
    if math and not re.match(r"\$\d[\d.,]*\s+[a-z]", rest):
        return _tidy(math.group(1) + _unit_after(math.group(2)))
    end = _SENTENCE_END.search(rest)
    if end and end.group() == "?":
        return ""
    text = rest[: end.start()] if end else rest
    clause = _TRAILING_CLAUSE.search(text)
    return _tidy(text[: clause.start()] if clause else text)


def _unit_after(text: str) -> str:
    """A unit that follows math: "%" or up to three plain words, else nothing."""
    unit = re.match(r"(?:\\?%|[A-Za-z]{1,15}(?: [A-Za-z]{1,15}){0,2})(?=[\s.,!*]*$|[.,!])", text)
    return " " + unit.group() if unit else ""


def _tidy(text: str) -> str:
    """An answer without markdown and the full stop after it."""
    text = text[:MAX_ANSWER].strip().strip("*_`").strip()
    if text.endswith((".", "!", ",", ";", ":")) and not text.endswith("\\!"):
        text = text[:-1].rstrip()
    text = text.strip('*_`"').strip()
    return text[:-1].rstrip() if text.endswith(".") else text
