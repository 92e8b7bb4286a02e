r"""Boxes in a text: the balanced ``\boxed{}``, ``\fbox{}`` and ``\boxed 5``, found in one pass."""

import re

# A longer "answer" is an essay.
MAX_ANSWER = 20_000

_BOX_TOKENS = re.compile(r"\\f?boxed\s{0,8}\{|\\fbox\s{0,8}\{|\\boxed\s{0,8}(?=[^\s{])|\\[^A-Za-z]|[{}]")
_BARE_BOX = re.compile(r"-?[^\s${}\\,.;]+")


def last_boxed(text: str) -> str | None:
    r"""Content of the last balanced ``\boxed{}`` (or ``\fbox{}``, ``\boxed 5``), outermost; None without one."""
    boxes, _ = find_boxes(text)
    return unwrap(text[boxes[-1][1] : boxes[-1][2]]) if boxes else None


def find_boxes(text: str) -> tuple[list[tuple[int, int, int]], int]:
    """Outermost balanced boxes (command start, content start, content end); where an unclosed one starts, or -1."""
    boxes: list[tuple[int, int, int]] = []
    stack: list[tuple[int, int]] = []  # (command start or -1 for a plain brace, content start)
    for match in _BOX_TOKENS.finditer(text):
        token = match.group()
        if token == "{":
            stack.append((-1, match.end()))
        elif token == "}":
            if stack:
                start, content = stack.pop()
                if start >= 0:
                    while boxes and boxes[-1][0] > start:
                        boxes.pop()  # it is inside this one
                    boxes.append((start, content, match.start()))
        elif token.endswith("{"):
            if token[1] in "bf":
                stack.append((match.start(), match.end()))
        elif token.startswith("\\boxed"):
            bare = _BARE_BOX.match(text, match.end(), match.end() + 200)
            if bare:
                boxes.append((match.start(), bare.start(), bare.end()))
    return boxes, max((start for start, _ in stack), default=-1)


def unwrap(content: str) -> str:
    """The content of a box without boxes around all of it, at most ``MAX_ANSWER`` characters."""
    content = content.strip()
    for _ in range(8):
        inner = re.fullmatch(r"\\f?boxe?d?\s{0,8}\{(.*)\}", content, re.DOTALL)
        if inner is None:
            break
        content = inner.group(1).strip()
    return content[:MAX_ANSWER]
