"""Prefilled prompts: run in groups, kept while there is room, shared by all draws of one prompt."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from mindgap_data.engines.kvcache import KeyValues

GROUP_TOKENS = 1024  # padded tokens of one prefill
SIMILAR = 0.75  # a prompt joins a group whose first is between this and 1/this of its length

Prompt = tuple[int, ...]


@dataclass
class _Entry:
    """A prompt's place in its group, and its keys and values once the group has run."""

    group: tuple[Prompt, ...]
    values: KeyValues | None = None


class Prefixes:
    """Keys and values of prompts without their last token, which the first decoding step takes.

    A group runs when the first of its prompts is needed, always as the whole group: the bits of a prompt
    follow from the group alone, whichever draw needs it first.
    """

    def __init__(self, model: Any, tokens: int) -> None:
        """Prefill with ``model``, and keep at most ``tokens`` tokens."""
        self._model = model
        self._tokens = tokens
        self._group_tokens = GROUP_TOKENS
        self._entries: OrderedDict[Prompt, _Entry] = OrderedDict()

    def expect(self, prompt: Prompt, waiting: Iterable[Prompt]) -> None:
        """``prompt`` is placed now, ``waiting`` are next in order: decides its group, computes nothing."""
        if prompt in self._entries:
            self._entries.move_to_end(prompt)
            return
        group = [prompt]
        width = len(prompt)
        for other in waiting:
            if other in self._entries or other in group or len(other) < 2:
                continue
            if SIMILAR <= len(other) / len(prompt) <= 1 / SIMILAR:
                width = max(width, len(other))
                if width * (len(group) + 1) > self._group_tokens:
                    break
                group.append(other)
        entry_group = tuple(group)
        self._entries.update((member, _Entry(entry_group)) for member in reversed(group))
        kept = sum(map(len, self._entries))
        while kept > self._tokens and next(iter(self._entries)) != prompt:
            kept -= len(self._entries.popitem(last=False)[0])

    def get(self, prompt: Prompt) -> KeyValues:
        """Keys and values of ``prompt`` without its last token; it is expected."""
        entry = self._entries[prompt]
        if entry.values is None:
            self._run(entry.group)
        assert entry.values is not None
        return entry.values

    def clear(self) -> None:
        """Forget everything; from now on prefill prompts alone and keep none."""
        self._entries.clear()
        self._tokens = self._group_tokens = 0

    def _run(self, group: tuple[Prompt, ...]) -> None:
        for row, values in enumerate(prefill(self._model, [prompt[:-1] for prompt in group])):
            entry = self._entries.get(group[row])
            if entry is not None and entry.group == group:
                entry.values = values


def prefill(model: Any, prompts: list[Prompt]) -> list[KeyValues]:
    """Keys and values of each prompt, run as one right-padded batch."""
    width = max(map(len, prompts))
    # Right padding under causal attention cannot reach a real token, so no mask is needed.
    ids = torch.tensor([[*prompt, *[prompt[-1]] * (width - len(prompt))] for prompt in prompts], device=model.device)
    cache = DynamicCache()
    model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    found: list[KeyValues] = []
    layers: list[Any] = list(cache.layers)
    for row, prompt in enumerate(prompts):
        span = slice(len(prompt))
        found.append([(layer.keys[row, :, span].clone(), layer.values[row, :, span].clone()) for layer in layers])
    return found
