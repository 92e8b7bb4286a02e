r"""What a closing sentence without a box sets apart: bold type, a formula in dollars, code in backticks.

"The vertex is at **(3, -1)**." "So $x = 2$ or $x = 5$." "Therefore, **Evelyn** is the fastest."
"""

import re
from dataclasses import dataclass

from mindgap_data.verify.math.latex import UnreadableError, normalise
from mindgap_data.verify.math.options import read_option
from mindgap_data.verify.math.sentences import is_open, last_line, sentences
from mindgap_data.verify.math.units import parse_unit

MAX_MARKS = 10

_MARK = re.compile(
    r"\*\*(?P<bold>[^*\n]{1,300})\*\*"
    r"|\$\$(?P<display>[^$\n]{1,400})\$\$|\$(?P<dollars>[^$\n]{1,400})\$"
    r"|\\\((?P<round>.{1,400}?)\\\)|\\\[(?P<square>.{1,400}?)\\\]|`(?P<code>[^`\n]{1,300})`"
)
_SLOT = "\ufffc"  # stands for a mark in its sentence
_ENDING = re.compile(
    rf"(?P<before>[^{_SLOT}]*)(?P<list>{_SLOT}(?:(?:,| and|, and| or|, or)\s+(?:[A-Za-z]\w? ?= ?)?{_SLOT})*)"
    rf"(?P<behind>[^{_SLOT}]{{0,60}})"
)
_CONCLUDING = re.compile(
    r"(?:(?:\b(?:is|are|was|were|equals|be|becomes|gives|yields|get|obtain|have|find that|follows that|see that"
    r"|conclude that|to|exactly|simply|just|as|at)|=|:)\s*|^(?:(?:so|thus|hence|therefore|finally|answer),?\s*)?)"
    r"(?:[A-Za-z]\w? ?= ?)?$",
    re.IGNORECASE,
)
_HEDGE = re.compile(r"\b(?:approximately|approx\.?|about|roughly|around)\s*$", re.IGNORECASE)
_RESTATED = re.compile(r" *\(([^()]*)\)$")


@dataclass(frozen=True)
class _Mark:
    text: str
    bold: bool


def closing_marked(response: str) -> str | None:
    """What the last sentence sets apart as its conclusion, several joined by commas; None where it has none."""
    skeleton, marks = _skeleton(last_line(response))
    parts = sentences(skeleton)
    if not parts:
        return None
    count = parts[-1].count(_SLOT)
    sentence, marks = parts[-1].strip(), marks[len(marks) - count :]
    if not 0 < count <= MAX_MARKS or any(mark.text.endswith((":", "?")) for mark in marks):
        return None
    ending = _ENDING.fullmatch(sentence.rstrip(".!"))
    if ending is not None and ending["list"].count(_SLOT) == count:
        return _listed(ending["before"], marks, ending["behind"])
    return None


def _skeleton(line: str) -> tuple[str, list[_Mark]]:
    """The line with a slot for every mark, and the marks."""
    marks: list[_Mark] = []

    def slot(match: re.Match[str]) -> str:
        text = match[match.lastgroup or 0]
        if match["dollars"] and (text[0].isspace() != text[-1].isspace() or re.match(r"[0-9][0-9.,]*\s+[a-z]", text)):
            return match[0]  # "$5 and $6" are amounts of money
        if re.search(rf"[{_SLOT}]", text):
            return match[0]
        marks.append(_Mark(text.strip(), match["bold"] is not None))
        return _SLOT

    return _MARK.sub(slot, line.replace(_SLOT, " ")), marks


def _listed(before: str, marks: list[_Mark], behind: str) -> str | None:
    hedge = _HEDGE.search(before)
    before = before[: hedge.start()] if hedge else before
    behind = re.sub(r"^,? respectively$", "", behind.rstrip(" .!"))
    restated = _RESTATED.fullmatch(behind)
    if is_open(before) or (is_open(behind) and not restated):
        return None
    bold = all(mark.bold for mark in marks)
    if not bold and not _CONCLUDING.search(before.strip() + (" " if before.strip() else "")):
        return None
    unit = (
        behind if behind and re.fullmatch(r"[ A-Za-z^/0-9\u00b2\u00b3%]{1,40}", behind) and parse_unit(behind) else ""
    )
    if (
        behind
        and not unit
        and not restated
        and not (bold and len(marks) == 1 and not re.search("[0-9]", before + behind))
    ):
        return None
    text = _joined([mark.text.rstrip(".,;: ") for mark in marks])
    if text is None:
        return None
    if unit and len(marks) == 1 and ("\\" in text or not re.search("[A-Za-z]", text)):
        text += rf" \text{{{unit}}}" if "\\" in text else unit
    return (f"{hedge.group().strip()} " if hedge else "") + text + (behind if restated else "")


def _joined(texts: list[str]) -> str | None:
    """Several marks as one list; of options with their values only the letters."""
    if len(texts) == 1:
        return texts[0] or None
    try:
        options = [read_option(normalise(text)) for text in texts]
    except UnreadableError:
        return None
    return ", ".join(option.letter if option else text for option, text in zip(options, texts, strict=True))
