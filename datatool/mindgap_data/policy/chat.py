"""The tokenizer as a chat sees it: prompts to ids, responses to ids and back, with fingerprints."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from mindgap_data.errors import UserError
from mindgap_data.record import template_fingerprint, tokenizer_fingerprint

_PROBE = "mindgap probe"


class ChatTokenizer:
    """A Hugging Face tokenizer with a chat template, and the ids that end an assistant's turn."""

    def __init__(self, tokenizer: Any, name: str, extra_end_ids: Sequence[int] = ()) -> None:
        """Wrap ``tokenizer``.

        Args:
            tokenizer: a transformers tokenizer.
            name: how the user named the model, for errors.
            extra_end_ids: further stop ids, as generation_config.json lists them.

        Raises:
            UserError: when it has no chat template, or the template ends no turn.
        """
        self.hf = tokenizer
        self.name = name
        if not isinstance(tokenizer.chat_template, str) or not tokenizer.chat_template.strip():
            raise UserError(
                f"{name}: the tokenizer has no chat template; pass one with --chat-template FILE, "
                "or use the model's instruct version"
            )
        self.end_id = self._turn_end()
        self.end_ids: tuple[int, ...] = tuple(dict.fromkeys((self.end_id, *extra_end_ids)))

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of the vocabulary."""
        return tokenizer_fingerprint(self.hf)

    @cached_property
    def template(self) -> str:
        """Fingerprint of the chat template."""
        return template_fingerprint(self.hf.chat_template)

    @cached_property
    def vocabulary(self) -> int:
        """Number of ids, added tokens included; every id is below it."""
        return len(self.hf)

    def prompt_ids(self, messages: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
        """Ids of ``messages`` followed by the header of the assistant's turn: what training will see."""
        return tuple(self._ids(self._render(messages, add_generation_prompt=True)))

    def prompt_text(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The same as text, to show."""
        return self._render(messages, add_generation_prompt=True)

    def response_ids(self, text: str) -> tuple[int, ...]:
        """Ids of a response given as text, end-of-turn token included."""
        return (*self._ids(text), self.end_id)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, special tokens shown, nothing tidied."""
        return str(self.hf.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def response_text(self, ids: Sequence[int]) -> str:
        """Text of a response up to its end-of-turn token."""
        return self.decode(ids[:-1] if ids and ids[-1] in self.end_ids else ids)

    def _ids(self, text: str) -> list[int]:
        # The template writes its own special tokens, so none are added here.
        return list(self.hf(text, add_special_tokens=False)["input_ids"])

    def _render(self, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool) -> str:
        from jinja2 import TemplateError

        try:
            return str(
                self.hf.apply_chat_template(
                    [dict(message) for message in messages], tokenize=False, add_generation_prompt=add_generation_prompt
                )
            )
        except (TemplateError, TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
            # What a row puts into its turns reaches the template's own filters and arithmetic.
            raise UserError(f"{self.name}: the chat template refuses this conversation: {error}") from error

    def _turn_end(self) -> int:
        """The token the template writes after an assistant's text, else the tokenizer's end of sequence."""
        conversation = [{"role": "user", "content": "x"}, {"role": "assistant", "content": _PROBE}]
        tail = self._render(conversation, add_generation_prompt=False).rpartition(_PROBE)[2]
        special = set(self.hf.all_special_ids) | set(self.hf.get_added_vocab().values())
        for token in self._ids(tail.lstrip()):
            if token in special:
                return token
            break
        if self.hf.eos_token_id is None:
            raise UserError(f"{self.name}: the chat template ends no turn and the tokenizer has no eos token")
        return int(self.hf.eos_token_id)
