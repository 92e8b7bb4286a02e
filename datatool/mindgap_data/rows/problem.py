"""One row made a problem: prompt, expert demonstration, reference answer, and the columns that pass through."""

import math
from dataclasses import dataclass
from typing import Any

from mindgap_data.fingerprints import content_id
from mindgap_data.record import Record
from mindgap_data.rows.shapes import Conversation, Fields, conversation
from mindgap_data.rows.tools import calls_text, read_tools, tagged_calls
from mindgap_data.rows.turns import Turn, read_turn
from mindgap_data.rows.values import Row, RowError, columns_found, scalar_text

# Columns taken for the reference answer, in this order, when no --answer-field is given.
ANSWER_COLUMNS = ("answer", "final_answer", "expected_answer")
ID_COLUMNS = ("id", "ID", "uuid")
RECORD_FIELDS = frozenset(Record.model_fields)


@dataclass(frozen=True)
class Problem:
    """One row, ready to be rewritten."""

    id: str
    messages: tuple[Turn, ...]  # the prompt, --instruction included
    expert: str  # the demonstration
    answer: str  # the reference answer
    row: dict[str, Any]  # the whole row as read
    extra: dict[str, Any]  # columns that pass through; none has the name of a record field
    expert_logprobs: list[float] | None = None  # the input's own log-probs of the expert's tokens, nats
    expert_token_ids: list[int] | None = None  # the ids they are of
    verifier: str | None = None  # the verifier this row asks for
    thought: str | None = None  # what the expert thought before the demonstration
    tools: str | None = None  # functions the model is offered, JSON text
    calling: Turn | None = None  # the demonstration as a turn, where it calls tools

    @property
    def checked_row(self) -> dict[str, Any]:
        """The row as a verifier is shown it: ``verifier`` holds the name of the one it asks for."""
        return {**self.row, "verifier": self.verifier} if self.verifier else self.row


def to_problem(
    row: Row, fields: Fields, instruction: str | None = None, *, turn: int | None = None, needs_answer: bool = True
) -> Problem:
    """The problem a row states.

    The instruction is added to the last user turn after an empty line, unless the turn ends with it
    already (a file rewritten for the next round). The id of a row that brings none is a hash of its
    prompt without the instruction and its answer. A demonstration that calls tools is its own reference, and
    ``tool_call`` checks it.

    Args:
        row: as read.
        fields: what the user says of the columns.
        instruction: text added to the problem.
        turn: which assistant turn is the demonstration, see ``conversation``; its number becomes part of the id.
        needs_answer: whether a row without a reference answer is refused; else its answer is empty.

    Raises:
        RowError: the row cannot be used; one line that names the field.
    """
    talk = conversation(row, fields, turn)
    return _problem(row, fields, talk, _reference(row, talk, fields, needs_answer), instruction, turn)


def to_demonstration(row: Row, fields: Fields) -> Problem:
    """The same for a row that is only scored: where it has no reference answer, ``answer`` is empty.

    Raises:
        RowError: the row cannot be used; one line that names the field.
    """
    talk = conversation(row, fields)
    try:
        answer = _reference(row, talk, fields, needs_answer=False)
    except RowError:
        answer = ""
    return _problem(row, fields, talk, answer, None, None)


def _problem(
    row: Row, fields: Fields, talk: Conversation, answer: str, instruction: str | None, turn: int | None
) -> Problem:
    expert = "\n".join(part for part in (talk.expert, tagged_calls(talk.calls)) if part)
    for field, text in (
        ("prompt", "".join(turn["content"] + turn.get("reasoning_content", "") for turn in talk.prompt)),
        ("expert", expert + (talk.thought or "")),
    ):
        _check_unicode(field, text)
    _check_unicode("answer", answer)
    own = row_id(row, fields)
    _check_unicode("id", own or "")
    if own is not None and turn is not None:
        own = f"{own}/{turn}"
    key = own or content_id(list(talk.prompt), answer or expert)
    ids, logprobs = _logged(row, talk)
    tools, verifier, extra = read_tools(row), _verifier(row, talk), _extra(row, talk, key, answer)
    if verifier is not None:
        extra["verifier"] = verifier
    return Problem(
        id=key,
        messages=_instruct(talk.prompt, instruction) if instruction else talk.prompt,
        expert=expert,
        answer=answer,
        row=dict(row),
        extra=extra,
        expert_logprobs=logprobs,
        expert_token_ids=ids,
        verifier=verifier,
        thought=talk.thought,
        tools=tools,
        calling=talk.demonstration if talk.calls else None,
    )


def _verifier(row: Row, talk: Conversation) -> str | None:
    """The verifier a row asks for."""
    named = row.get("verifier")
    return named if isinstance(named, str) and named else "tool_call" if talk.calls else None


def _reference(row: Row, talk: Conversation, fields: Fields, needs_answer: bool) -> str:
    """The reference answer: the tool calls; else from a field, else from the demonstration's \\boxed{} or ####.

    The fields are the last turn's; an earlier one has only what it says itself.
    """
    from mindgap_data.verify.answers import reference_answer

    if talk.calls:
        return calls_text(talk.calls)
    if fields.answer and talk.is_last:
        if fields.answer not in row:
            raise RowError(f"field {fields.answer}: not in the row (--answer-field); {columns_found(row)}")
        named = scalar_text(fields.answer, row[fields.answer])
        return reference_answer(named) or named
    for column in ANSWER_COLUMNS:
        if talk.is_last and (column not in talk.columns or talk.format == "mindgap"):
            value = row.get(column)
            if value is not None and value != "":
                return scalar_text(column, value)
    if found := reference_answer(talk.expert):
        return found
    if not needs_answer:
        return ""
    raise RowError(
        "no reference answer: no \\boxed{} and no #### in the demonstration; "
        "name the column that holds it with --answer-field"
    )


def row_id(row: Row, fields: Fields) -> str | None:
    """The id a row brings, as text; None when it brings none."""
    if fields.id:
        if fields.id not in row:
            raise RowError(f"field {fields.id}: not in the row (--id-field); {columns_found(row)}")
        return scalar_text(fields.id, row[fields.id])
    column = next((name for name in ID_COLUMNS if row.get(name) not in (None, "")), None)
    return scalar_text(column, row[column]) if column else None


def _instruct(prompt: tuple[Turn, ...], instruction: str) -> tuple[Turn, ...]:
    last = max(i for i, turn in enumerate(prompt) if turn["role"] == "user")
    content = prompt[last]["content"]
    if content.endswith(instruction):
        return prompt
    return (*prompt[:last], {**prompt[last], "content": f"{content}\n\n{instruction}"}, *prompt[last + 1 :])


def _logged(row: Row, talk: Conversation) -> tuple[list[int] | None, list[float] | None]:
    """The input's own ids and log-probs of the demonstration.

    A rewritten row holds those of its response under the plain names; the expert's are those it kept
    from its own input.
    """
    prefix = "input." if talk.format == "mindgap" else ""
    ids, logprobs = row.get(f"{prefix}response_token_ids"), row.get(f"{prefix}behavior_logprobs")
    if logprobs is None:
        return None, None
    if not isinstance(logprobs, list) or not all(_is_logprob(value) for value in logprobs):
        raise RowError(f"field {prefix}behavior_logprobs: must be a list of log-probabilities")
    if not isinstance(ids, list) or not all(type(token) is int and token >= 0 for token in ids):
        raise RowError(f"field {prefix}response_token_ids: must hold the ids that behavior_logprobs belong to")
    if len(ids) != len(logprobs):
        raise RowError(f"field {prefix}behavior_logprobs: {len(logprobs)} values for {len(ids)} response_token_ids")
    return ids, [float(value) for value in logprobs]


def _is_logprob(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value <= 1e-4


def _extra(row: Row, talk: Conversation, key: str, answer: str) -> dict[str, Any]:
    """Columns that pass through.

    A column the conversation was read from, or with the name of a record field, becomes ``input.<column>``,
    unless the record says the very same: nothing is lost and nothing is there twice. The fields of a record
    that is rewritten again are replaced.
    """
    kept = ("role", "content", "reasoning_content", "tool_calls")
    turns = [*talk.prompt, {name: value for name, value in talk.demonstration.items() if name in kept}]
    same = {"id": key, "expert": talk.expert, "answer": answer, "tools": row.get("tools")}
    extra: dict[str, Any] = {}
    for name, value in row.items():
        if name in talk.columns and not talk.is_last:
            continue  # the problem of a later turn has it all
        if name not in RECORD_FIELDS and name not in talk.columns:
            extra[name] = value
        elif talk.format != "mindgap" and not (
            value is None or same.get(name) == value or (name in talk.columns and _said(value, turns))
        ):
            extra[_free_name(name, row)] = value
    return extra


def _said(value: Any, turns: list[Turn]) -> bool:
    """Whether the turns hold all that a column they were read from holds."""
    if isinstance(value, list):
        return all(read_turn(turn, "") in turns for turn in value)
    return value == "" or any(value == turn["content"] for turn in turns)


def _free_name(name: str, row: Row) -> str:
    kept = f"input.{name}"
    return _free_name(kept, row) if kept in row else kept


def _check_unicode(field: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RowError(f"field {field}: half of a surrogate pair at character {error.start}, not text") from None
