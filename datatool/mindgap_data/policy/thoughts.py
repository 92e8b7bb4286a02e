"""Thoughts: how a chat template writes what a model thinks before it answers, found by asking the template."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mindgap_data.rendering import RenderingError

ExpertThinking = Literal["none", "empty", "skip"]
Render = Callable[[Sequence[Mapping[str, Any]], bool], str]  # turns, whether the assistant's header follows

_TEXT, _THOUGHT = "mindgap probe", "mindgap thought"
_QUESTION = {"role": "user", "content": "x"}
# How rows and verifiers see a thought, whatever the model's own marks are.
_OPEN, _CLOSE = "<think>", "</think>"


@dataclass(frozen=True)
class _Marks:
    """What a family of models writes around a thought, where its template does not show it."""

    opens: str
    closes: str


_FAMILIES = (
    _Marks("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),  # gpt-oss
    _Marks("<|channel>thought\n", "<channel|>"),  # Gemma 4
    _Marks("[THINK]", "[/THINK]"),  # Magistral
    _Marks("<think>\n", "\n</think>\n\n"),  # DeepSeek R1, Qwen, EXAONE, Phi 4, …
)


@dataclass(frozen=True)
class Thoughts:
    """Where a thought stands in a response, which begins after the prompt."""

    opened: bool  # the prompt ends inside a thought
    opens: str  # before a thought; empty where the prompt has opened it
    closes: str  # between a thought and the text
    empty: str  # before a text without a thought, where an empty one is to be written
    is_usual: bool  # the template itself writes an empty thought before such a text
    mark: str  # what a thought begins with, without white space
    end: str  # what it ends with


@dataclass(frozen=True)
class TurnFormat:
    """How an assistant's turn goes on after the prompt."""

    lead: str  # before a text without a thought: gpt-oss's header of the final channel; as a rule nothing
    tail: str  # between the text and the token that ends the turn: Command A's <|END_RESPONSE|>; as a rule nothing
    thoughts: Thoughts | None  # None: the template knows none, or its arguments switch them off

    def written(self, text: str, thought: str | None, without: ExpertThinking) -> str:
        """A demonstration as the response it would be, without the end of the turn.

        Args:
            text: the answer; a thought in <think> tags may stand before it.
            thought: what was thought before; a template without thoughts has no place for it.
            without: what to do where there is no thought; "skip" is written like "empty".
        """
        text += self.tail
        if self.thoughts is None:
            return self.lead + text
        if thought is None:
            thought, text = inline_thought(text)
        if thought is not None:
            return f"{self.thoughts.opens}{thought}{self.thoughts.closes}{text}"
        return (self.lead if without == "none" else self.thoughts.empty) + text

    def written_calls(self, calls: str, thought: str | None, without: ExpertThinking) -> str:
        """The same for tool calls, which stand in the place of the text and have no lead of a text."""
        if self.thoughts is None or (thought is None and without == "none"):
            return calls
        before = self.thoughts.empty if thought is None else f"{self.thoughts.opens}{thought}{self.thoughts.closes}"
        return before.removesuffix(self.lead) + calls

    def split(self, text: str) -> tuple[str | None, str | None]:
        """(thought, answer) of a response's text; no thought: None; a thought that is never closed has no answer."""
        text = text.removesuffix(self.tail)
        if self.thoughts is not None:
            body = text if self.thoughts.opened else _after(text, self.thoughts.mark)
            if body is not None:
                thought, closed, answer = body.partition(self.thoughts.end)
                return thought.strip("\n"), answer.lstrip("\n").removeprefix(self.lead) if closed else None
        return None, text.removeprefix(self.lead)


def turn_format(template: str, render: Render, tail: str = "") -> TurnFormat:
    """The format of the assistant's turns, learned from three renderings of a short conversation.

    Args:
        tail: what stands between a text and the token that ends its turn.
    """
    prompt = render([_QUESTION], True)
    plain = _rendered(render, {"content": _TEXT})
    before = _between(plain, prompt, _TEXT)
    marks = next((one for one in _FAMILIES if one.opens.strip() in template or one.closes.strip() in template), None)
    if marks is None or prompt.rstrip().endswith(marks.closes.strip()):
        return TurnFormat(before if before.strip() else "", tail, None)
    end, opened = marks.closes.strip(), prompt.rstrip().endswith(marks.opens.strip())
    thinking = _rendered(render, {"content": _TEXT, "reasoning_content": _THOUGHT})
    closes = thinking.partition(_THOUGHT)[2].partition(_TEXT)[0]
    if end not in closes:
        closes = marks.closes
    opens = "" if opened else _between(thinking, prompt, _THOUGHT) or marks.opens
    usual = end in before
    lead = "" if usual or not before.strip() else before
    empty = before if usual else opens + closes
    thoughts = Thoughts(opened, opens, closes, empty, usual, marks.opens.strip(), end.removesuffix(lead))
    return TurnFormat(lead, tail, thoughts)


def after_prompt(whole: str, prompt: str) -> str | None:
    """What a rendering of a conversation says after its prompt and an empty thought; None where it has no such place.

    A template may open a thought in the prompt and write the turn without it.
    """
    for start in (prompt, *(_unopened(prompt, marks) for marks in _FAMILIES)):
        if start and whole.startswith(start):
            return _without_empty(whole[len(start) :])
    return None


def _unopened(prompt: str, marks: _Marks) -> str:
    """The prompt without an empty thought at its end."""
    start, _, thought = prompt.rpartition(marks.opens.strip())
    return "" if thought.replace(marks.closes.strip(), "").strip() else start


def _without_empty(text: str) -> str:
    for marks in _FAMILIES:
        begun = text.lstrip().removeprefix(marks.opens.strip()).lstrip()
        if begun.startswith(marks.closes.strip()):
            return begun.removeprefix(marks.closes.strip()).lstrip("\n")
    return text


def inline_thought(text: str) -> tuple[str | None, str]:
    """(thought, answer) of a text that begins with a thought in <think> tags, else (None, text)."""
    body = _after(text, _OPEN)
    thought, closed, answer = (body or "").partition(_CLOSE)
    return (thought.strip("\n"), answer.lstrip("\n")) if closed else (None, text)


def with_thought(thought: str | None, answer: str | None) -> str:
    """The whole response in one notation, for verifiers: the thought in <think> tags, unclosed without an answer."""
    if thought is None:
        return answer or ""
    return f"{_OPEN}\n{thought}" if answer is None else f"{_OPEN}\n{thought}\n{_CLOSE}\n\n{answer}"


def _rendered(render: Render, turn: Mapping[str, Any]) -> str:
    try:
        return render([_QUESTION, {"role": "assistant", **turn}], False)
    except RenderingError:
        return ""


def _between(text: str, prompt: str, mark: str) -> str:
    """What stands between the prompt and ``mark``; empty where the text does not go on from the prompt."""
    return text[len(prompt) : text.find(mark)] if text.startswith(prompt) and mark in text[len(prompt) :] else ""


def _after(text: str, mark: str) -> str | None:
    """The text after a mark it begins with, or None."""
    begun = text.lstrip()
    return begun.removeprefix(mark) if begun.startswith(mark) else None
