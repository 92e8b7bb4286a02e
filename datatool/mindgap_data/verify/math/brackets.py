r"""Texts split outside their brackets."""

import re


def split(text: str, separator: re.Pattern[str]) -> list[str]:
    """``text`` split where ``separator`` matches outside every bracket."""
    parts, depth, start, at = [], 0, 0, 0
    while at < len(text):
        character = text[at]
        if text.startswith(("\\{", "\\langle"), at):
            depth += 1
            at += 2
            continue
        if text.startswith(("\\}", "\\rangle"), at):
            depth -= 1
            at += 2
            continue
        if text.startswith((r"\begin", r"\end"), at):
            depth += 1 if text[at + 1] == "b" else -1
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif depth <= 0 and (match := separator.match(text, at)) and match.end() > at:
            parts.append(text[start:at].strip())
            start = at = match.end()
            continue
        at += 1
    parts.append(text[start:].strip())
    return parts
