"""What a server returned for one prompt, read from the two shapes in which servers give log-probs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Choice:
    """One completion, as far as it is well formed."""

    text: str
    finish: str | None
    tokens: tuple[str, ...]  # empty when it gave no log-probs
    logprobs: tuple[float | None, ...]  # as many; None for the first token of an echoed prompt
    top: tuple[float | None, ...]  # log-prob of the most likely token at each position, where given
    token_ids: tuple[int, ...] | None  # where the server gives them
    prompt_logprobs: Sequence[Any] | None  # vLLM: one dict of id -> log-prob a prompt token, the first None
    prompt_tokens: int | None  # how many it counted in the prompt
    shape: Literal["lists", "content"] = "lists"
    left_out: int = 0  # tokens drawn of which it gives nothing


def read_choice(answer: Any) -> Choice | None:
    """The one choice of a completion (openai's object), or None when it is not shaped like one."""
    try:
        choice = answer.choices[0]
        given = choice.logprobs
        if not isinstance(choice.text, str):
            return None
        content = (given.model_extra or {}).get("content") if given else None
        return _from_lists(answer, choice) if content is None else _from_content(answer, choice, content)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None


def _from_lists(answer: Any, choice: Any) -> Choice | None:
    """OpenAI's ``tokens`` and ``token_logprobs``, and the ids that vLLM and SGLang put beside them."""
    extra, given = choice.model_extra or {}, choice.logprobs
    tokens = tuple(given.tokens or ()) if given else ()
    logprobs = tuple(given.token_logprobs or ()) if given else ()
    tops = tuple(given.top_logprobs or ()) if given else ()
    if len(tokens) != len(logprobs) or not all(isinstance(token, str) for token in tokens):
        return None
    return Choice(
        text=choice.text,
        finish=choice.finish_reason,
        tokens=tokens,
        logprobs=tuple(None if value is None else float(value) for value in logprobs),
        top=tuple(max(map(float, top.values())) if top else None for top in tops),
        token_ids=_ids(extra.get("token_ids")) or _ids_by_name(tokens),
        prompt_logprobs=extra.get("prompt_logprobs"),
        prompt_tokens=getattr(answer.usage, "prompt_tokens", None),
    )


def _from_content(answer: Any, choice: Any, content: Sequence[Any]) -> Choice:
    """llama.cpp's ``content``: an object a token, ``prob`` in place of ``logprob`` after the sampling chain.

    It leaves out every token at which the text ends inside a character, so a character of several tokens has one entry.
    """
    drawn = getattr(answer.usage, "completion_tokens", None)
    ids = [entry.get("id") for entry in content]
    return Choice(
        text=choice.text,
        finish=choice.finish_reason,
        tokens=tuple(str(entry["token"]) for entry in content),
        logprobs=tuple(_logprob(entry) for entry in content),
        top=tuple(_top(entry.get("top_logprobs") or entry.get("top_probs")) for entry in content),
        token_ids=_ids(ids) if None not in ids else None,
        prompt_logprobs=None,
        prompt_tokens=getattr(answer.usage, "prompt_tokens", None),
        shape="content",
        left_out=max(0, drawn - len(content)) if isinstance(drawn, int) else 0,
    )


def _logprob(entry: Any) -> float:
    if "logprob" in entry:
        return float(entry["logprob"])
    probability = float(entry["prob"])
    return math.log(probability) if probability > 0 else -math.inf


def _top(entries: Any) -> float | None:
    return max(map(_logprob, entries)) if entries else None


def _ids(given: Any) -> tuple[int, ...] | None:
    return tuple(map(int, given)) if isinstance(given, list) and given else None


def _ids_by_name(tokens: Sequence[str]) -> tuple[int, ...] | None:
    """Ids of tokens written as ``token_id:123``."""
    parts = [token.partition("token_id:") for token in tokens]
    if not parts or any(before or not number.isdecimal() for before, _, number in parts):
        return None
    return tuple(int(number) for _, _, number in parts)
