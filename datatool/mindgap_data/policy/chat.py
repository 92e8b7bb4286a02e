"""The tokenizer as a chat sees it: prompts to ids, responses to ids and back, with fingerprints."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import takewhile
from types import MappingProxyType
from typing import Any

from mindgap_data.errors import UserError
from mindgap_data.fingerprints import template_fingerprint, tokenizer_fingerprint
from mindgap_data.policy.thoughts import ExpertThinking, after_prompt, inline_thought, turn_format, with_thought
from mindgap_data.rendering import RenderingError, prompt_text, render, shows_one_problem, text_ids

_PROBE = "mindgap probe"
_NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})


class ChatTokenizer:
    """A Hugging Face tokenizer with a chat template, and the ids that end an assistant's turn."""

    def __init__(
        self,
        tokenizer: Any,
        name: str,
        extra_end_ids: Sequence[int] = (),
        arguments: Mapping[str, Any] = _NO_ARGUMENTS,
        expert_thinking: ExpertThinking | None = None,
        stops: Sequence[int] = (),
    ) -> None:
        """Wrap ``tokenizer``.

        Args:
            tokenizer: a transformers tokenizer.
            name: how the user named the model, for errors.
            extra_end_ids: the ids that end the model's own draws, as generation_config.json lists them, the first
                one first. Where the template's end is none of them, and not the tokenizer's either, demonstrations end
                with the first: it is the one that is drawn.
            arguments: of the chat template (``chat_template_kwargs``).
            expert_thinking: how to write a demonstration without a thought where the template knows thoughts; by
                default with an empty one where the template does so, or has opened it already.
            stops: further ids that end a draw.

        Raises:
            UserError: when it has no chat template, the template ends no turn, or the text of a demonstration
                would stand inside a thought.
        """
        self.hf = tokenizer
        self.name = name
        self.arguments = arguments
        if not isinstance(tokenizer.chat_template, str) or not tokenizer.chat_template.strip():
            raise UserError(
                f"{name}: the tokenizer has no chat template; name one with --chat-template (a file, or chatml, "
                "llama3, qwen_25, …), or give --prompt-template"
            )
        known = (*extra_end_ids, *stops, tokenizer.eos_token_id)
        tail, written = self._turn_end(known)
        self.ends_disagree = bool(extra_end_ids) and written not in known
        self.end_id = extra_end_ids[0] if self.ends_disagree else written
        self.end_ids: tuple[int, ...] = tuple(dict.fromkeys((self.end_id, written, *extra_end_ids, *stops)))
        try:
            self._format = turn_format(tokenizer.chat_template, self._render, tail)
        except RenderingError as error:
            raise UserError(f"{name}: {error}") from error
        self._without_thought = self._checked(expert_thinking)

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of the vocabulary."""
        return tokenizer_fingerprint(self.hf)

    @cached_property
    def template(self) -> str:
        """Fingerprint of the chat template and its arguments."""
        return template_fingerprint(self.hf.chat_template, self.arguments)

    @cached_property
    def vocabulary(self) -> int:
        """Number of ids, added tokens included; every id is below it."""
        return len(self.hf)

    @property
    def note(self) -> str | None:
        """What a user should know of the tokens that end a turn, in one line; None where template and model agree."""
        if not self.ends_disagree:
            return None
        drawn, written = (f"{self.decode([end])!r} ({end})" for end in self.end_ids[:2])
        return (
            f"{self.name}: the chat template ends a turn with {written}, generation_config.json with {drawn}; both "
            f"end a draw, which keeps its own, and demonstrations end with {drawn}, the one that is drawn"
        )

    @property
    def expert_thinking(self) -> ExpertThinking | None:
        """How a demonstration without a thought is written; None where the template knows no thoughts."""
        return None if self._format.thoughts is None else self._without_thought

    def prompt_ids(self, messages: Sequence[Mapping[str, Any]], tools: Any = None) -> tuple[int, ...]:
        """Ids of ``messages`` followed by the header of the assistant's turn: what training will see."""
        return tuple(text_ids(self.hf, self.prompt_text(messages, tools)))

    def prompt_text(self, messages: Sequence[Mapping[str, Any]], tools: Any = None) -> str:
        """The same as text, to show; ``tools`` is JSON text."""
        try:
            return prompt_text(self.hf, self.hf.chat_template, messages, tools, self.arguments)
        except RenderingError as error:
            raise UserError(f"{self.name}: {error}") from error

    def response_ids(self, text: str) -> tuple[int, ...]:
        """Ids of a response given as text, end-of-turn token included."""
        return (*text_ids(self.hf, text), self.end_id)

    def demonstration_ids(self, text: str, thought: str | None = None) -> tuple[int, ...]:
        """Ids of a demonstration as the response it would be: with its thought, or as ``expert_thinking`` says."""
        return self.response_ids(self._format.written(text, thought, self._without_thought))

    def call_ids(self, messages: Sequence[Mapping[str, Any]], turn: Mapping[str, Any], tools: Any) -> tuple[int, ...]:
        """Ids of a demonstration that calls tools: the calls as the template writes them, its thought as above.

        Raises:
            UserError: the template does not write them, or not after its prompt.
        """
        said = {name: value for name, value in turn.items() if name != "reasoning_content"}
        try:
            whole = self._render([*messages, said], header=False, tools=tools)
        except RenderingError as error:
            raise UserError(f"{self.name}: {error}") from error
        rest = after_prompt(whole, self.prompt_text(messages, tools))
        if rest is None or any(call["function"]["name"] not in rest for call in turn["tool_calls"]):
            raise UserError(f"{self.name}: the chat template does not write the turn's tool calls after its prompt")
        calls, end = self._cut(rest)
        written = self._format.written_calls(calls, turn.get("reasoning_content"), self._without_thought)
        return (*text_ids(self.hf, written), end)

    def _cut(self, text: str) -> tuple[str, int]:
        """A rendered turn up to the first token that ends one, and that token; some templates write on behind it."""
        marks = {end: self.decode([end]) for end in self.end_ids}
        found = [end for end in self.end_ids if marks[end] in text]
        end = min(found, key=lambda end: text.index(marks[end]), default=self.end_id)
        return text.partition(marks[end])[0], end

    def lacks_thought(self, text: str, thought: str | None) -> bool:
        """Whether a demonstration must be left out, since it has no thought where one is asked for."""
        return self.expert_thinking == "skip" and thought is None and inline_thought(text)[0] is None

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, special tokens shown, nothing tidied."""
        return str(self.hf.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def turn(self, ids: Sequence[int]) -> dict[str, str]:
        """A response as the assistant's turn: ``content``, and ``reasoning_content`` where it has a thought."""
        thought, answer = self._split(ids)
        turn = {"role": "assistant", "content": answer or ""}
        return {**turn, "reasoning_content": thought} if thought else turn

    def response_text(self, ids: Sequence[int]) -> str:
        """Text of a response up to its end-of-turn token; its thought, if any, stands in <think> tags."""
        return with_thought(*self._split(ids))

    def _split(self, ids: Sequence[int]) -> tuple[str | None, str | None]:
        return self._format.split(self.decode(ids[:-1] if ids and ids[-1] in self.end_ids else ids))

    def _render(self, messages: Sequence[Mapping[str, Any]], header: bool, tools: Any = None) -> str:
        return render(self.hf, self.hf.chat_template, messages, tools, self.arguments, add_generation_prompt=header)

    def _turn_end(self, known: Sequence[int | None]) -> tuple[str, int]:
        """What the template writes between an assistant's text and the token that ends the turn, and that token.

        It is the first special token behind the text or, where several stand there, the first of them that is known
        to end a draw; without any, the tokenizer's end of sequence.
        """
        turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": _PROBE}]
        try:
            # A prompt template shows no turn of the assistant's, so no end of one.
            shown = "" if shows_one_problem(self.hf.chat_template) else self._render(turns, header=False)
        except RenderingError as error:
            raise UserError(f"{self.name}: {error}") from error
        _, probe, behind = shown.rpartition(_PROBE)
        special = set(self.hf.all_special_ids) | set(self.hf.get_added_vocab().values())
        behind_ids = text_ids(self.hf, behind.lstrip() if probe else "")
        ends = list(takewhile(special.__contains__, behind_ids))
        if ends:
            at = next((at for at, end in enumerate(ends) if end in known), 0)
            return self.decode(ends[:at]), ends[at]
        if self.hf.eos_token_id is None:
            raise UserError(f"{self.name}: the chat template ends no turn and the tokenizer has no eos token")
        return "", int(self.hf.eos_token_id)

    def _checked(self, wanted: ExpertThinking | None) -> ExpertThinking:
        thoughts = self._format.thoughts
        if thoughts is None:
            return wanted or "none"
        if wanted == "none" and thoughts.opened:
            raise UserError(
                f"--expert-thinking none: the chat template of {self.name} opens a thought in the prompt, and a "
                "demonstration without one would stand inside it; use empty or skip"
            )
        return wanted or ("empty" if thoughts.opened or thoughts.is_usual else "none")
