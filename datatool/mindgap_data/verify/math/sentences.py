"""The last sentence of a response, and whether it concludes: no question, doubt, denial, condition or alternative."""

import re

from mindgap_data.verify.answers import strip_thinking

TAIL = 2_000

# Words that leave open what is said, deny it, or change the value beside them; and those of steps on the way.
_OPEN = re.compile(
    r"\?|\b(?:not|never|cannot|unknown|if|maybe|perhaps|might|could|possibly|about|approximately|around|roughly|nearly"
    r"|almost|at least|at most|than|unlike|versus|vs|compared|between|either|neither|nor|let|suppose|assume|assuming"
    r"|need to(?! (?:pay|buy|sell|save|make|get|work|walk|drive|read|score))"
    r"|example|guess|impossible|unclear|undetermined|wrong|incorrect|incorrectly|false|invalid|extraneous"
    r"|eliminat\w*|rul(?:e|es|ed|ing) out|reject\w*|discard\w*|exclud\w*|contradict\w*|halved|doubled|tripled"
    r"|but|none|however|unless|consider|too|negative|minus|half|twice|double|triple|times|squared|root|multiple"
    r"|greater|fewer|less|in each|except|instead|depends?"
    r"|step|steps|first|given|rule|start(?:s|ed|ing)?|beg[aiu]n|begins|originally|initially)\b|n['\u2019]t\b",
    re.IGNORECASE,
)
# Beside these a number may be a name, or one of several.
_NAMED = re.compile(r"\b(?:or|option|problem|question|equation|figure|page|chapter)\b", re.IGNORECASE)
_FENCED = re.compile(r"```[a-z]{0,10}[ \t]*\n([^\n`]{1,400})\n```$")
_DISPLAY_BEFORE = re.compile(r"[ \t]*\n\s*(?=\\\[|\$\$)")
_DISPLAY_INSIDE = re.compile(r"(\\\[|\$\$)\s*\n\s*([^\n]{1,400}?)\s*\n\s*(\\\]|\$\$)")
_SENTENCE_END = re.compile(r"(?<=[^\s.][.!?])\s+(?=\S)")


def last_line(response: str) -> str:
    """The last line after the thinking block; a formula on a line of its own belongs to the one before."""
    body = strip_thinking(response)
    if body is None:
        return ""
    tail = _FENCED.sub(r"`\1`", body[-TAIL:].strip())
    tail = _DISPLAY_INSIDE.sub(r"\1\2\3", tail)
    return _DISPLAY_BEFORE.sub(" ", tail).rsplit("\n", 1)[-1]


def sentences(line: str) -> list[str]:
    """The sentences of a line."""
    return [part for part in _SENTENCE_END.split(line) if part.strip()]


def is_open(sentence: str) -> bool:
    """Whether a sentence leaves open what it says, denies it, or changes the value it names."""
    return bool(_OPEN.search(sentence))


def may_name_numbers(sentence: str) -> bool:
    """Whether a number in it may be a name ("equation 3"), or one of several."""
    return bool(_NAMED.search(sentence))
