"""Input rows as people have them, each turned into one problem: prompt, expert demonstration, reference answer."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mindgap_data.record import Record, content_id

Row = Mapping[str, Any]
Turn = dict[str, Any]

# Columns taken for the reference answer, in this order, when no --answer-field is given.
ANSWER_COLUMNS = ("answer", "final_answer", "expected_answer")
ID_COLUMNS = ("id", "ID", "uuid")
RECORD_FIELDS = frozenset(Record.model_fields)

_ROLES = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}


class RowError(ValueError):
    """Why a row cannot be used, in one line; the row goes to the failed file."""


@dataclass(frozen=True)
class Fields:
    """What the user says of the columns; None where the rows are to speak for themselves."""

    format: str | None = None  # one of FORMATS
    messages: str | None = None  # column with the list of turns
    prompt: str | None = None  # column with the problem (text, or a list of turns)
    response: str | None = None  # column with the expert demonstration
    answer: str | None = None  # column with the reference answer
    id: str | None = None  # column with the row's id
    system: str | None = None  # column with a system prompt


@dataclass(frozen=True)
class Conversation:
    """A row's prompt and the assistant turn that ends it."""

    format: str
    prompt: tuple[Turn, ...]  # everything before the last assistant turn
    expert: str  # that turn's text
    columns: frozenset[str]  # the columns they were read from


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


@dataclass(frozen=True)
class _Shape:
    """A format: the columns that mark it, by what they hold, and how its turns are read."""

    name: str
    columns: Mapping[str, str]  # field of Fields, or a further column -> default name
    read: Callable[[Row, Mapping[str, str]], list[Turn]]
    optional: tuple[str, ...] = ()  # read where present


def conversation(row: Row, fields: Fields) -> Conversation:
    """The prompt and the demonstration of a row, no reference answer asked for.

    Raises:
        RowError: unrecognised columns, or a turn that cannot be used.
    """
    shape, columns = _recognise(row, fields)
    turns = shape.read(row, columns)
    used = {*columns.values(), *(name for name in shape.optional if name in row)}
    system = fields.system or ("system" if shape.name in ("conversations", "alpaca") else None)
    if system and row.get(system) not in (None, "") and turns[0]["role"] not in ("system", "developer"):
        turns = [{"role": "system", "content": _text(row, system)}, *turns]
        used.add(system)
    field = columns.get("messages") or columns["prompt"]
    last = next((i for i in reversed(range(len(turns))) if turns[i]["role"] == "assistant"), None)
    if last is None:
        raise RowError(f"field {field}: no assistant turn to rewrite")
    if not any(turn["role"] == "user" for turn in turns[:last]):
        raise RowError(f"field {field}: no user turn before the last assistant turn")
    if not turns[last]["content"].strip() or turns[last].get("tool_calls"):
        raise RowError(f"field {field}: the last assistant turn is not plain text")
    return Conversation(shape.name, tuple(turns[:last]), turns[last]["content"], frozenset(used))


def to_problem(row: Row, fields: Fields, instruction: str | None = None) -> Problem:
    """The problem a row states.

    ``instruction`` is added to the last user turn after an empty line, unless the turn ends with it
    already (a file rewritten for the next round). The id of a row that brings none is a hash of its
    prompt without the instruction and its answer.

    Raises:
        RowError: the row cannot be used; one line that names the field.
    """
    talk = conversation(row, fields)
    return _problem(row, fields, talk, _reference(row, talk, fields), instruction)


def to_demonstration(row: Row, fields: Fields) -> Problem:
    """The same for a row that is only scored: where it has no reference answer, ``answer`` is empty.

    Raises:
        RowError: the row cannot be used; one line that names the field.
    """
    talk = conversation(row, fields)
    try:
        answer = _reference(row, talk, fields)
    except RowError:
        answer = ""
    return _problem(row, fields, talk, answer, None)


def detect(row: Row, fields: Fields | None = None) -> str:
    """Name of the format of a row, one of FORMATS.

    Raises:
        RowError: naming the columns found, when it is none.
    """
    return _recognise(row, fields or Fields())[0].name


def _problem(row: Row, fields: Fields, talk: Conversation, answer: str, instruction: str | None) -> Problem:
    for field, text in (("prompt", "".join(turn["content"] for turn in talk.prompt)), ("expert", talk.expert)):
        _check_unicode(field, text)
    _check_unicode("answer", answer)
    key = row_id(row, fields) or content_id(list(talk.prompt), answer or talk.expert)
    ids, logprobs = _logged(row, talk)
    verifier = row.get("verifier")
    return Problem(
        id=key,
        messages=_instruct(talk.prompt, instruction) if instruction else talk.prompt,
        expert=talk.expert,
        answer=answer,
        row=dict(row),
        extra=_extra(row, talk, key, answer),
        expert_logprobs=logprobs,
        expert_token_ids=ids,
        verifier=verifier if isinstance(verifier, str) and verifier else None,
    )


def _recognise(row: Row, fields: Fields) -> tuple[_Shape, Mapping[str, str]]:
    shapes = _named_shapes(fields)
    # A merged table has every source's columns in every row, null where the row is another's.
    for present in (lambda column: row.get(column) is not None, row.__contains__):
        for shape, columns in shapes:
            if all(present(column) for column in columns.values()):
                return shape, columns
    found = ", ".join(_short(name) for name in list(row)[:12]) or "none"
    if fields.format:
        wanted = " and ".join(shapes[0][1].values())
        raise RowError(f"no columns {wanted} (format {fields.format}); columns found: {found}")
    raise RowError(
        f"unrecognised columns: {found}; name them with --messages-field, or --prompt-field and --response-field"
    )


@lru_cache(maxsize=8)
def _named_shapes(fields: Fields) -> tuple[tuple[_Shape, Mapping[str, str]], ...]:
    """The shapes to try, with the columns the user named in place of the default ones; the same for every row."""
    return tuple(
        (shape, {role: getattr(fields, role, None) or default for role, default in shape.columns.items()})
        for shape in _candidates(fields)
    )


def _candidates(fields: Fields) -> Iterator[_Shape]:
    """The shapes a row may have under what the user says."""
    if fields.format:
        yield from (shape for shape in _SHAPES if shape.name == fields.format)
    elif fields.messages:
        yield _CHAT
    elif fields.prompt and fields.response:
        yield _PAIR
    elif fields.prompt or fields.response:
        yield from (shape for shape in _SHAPES if "prompt" in shape.columns)
    else:
        yield from _SHAPES


def _read_record(row: Row, columns: Mapping[str, str]) -> list[Turn]:
    return [*_turns(row, columns["messages"])[:-1], {"role": "assistant", "content": _text(row, "expert")}]


def _read_chat(row: Row, columns: Mapping[str, str]) -> list[Turn]:
    return _turns(row, columns["messages"])


def _read_alpaca(row: Row, columns: Mapping[str, str]) -> list[Turn]:
    problem = _text(row, columns["prompt"])
    if row.get("input") not in (None, ""):
        problem = f"{problem}\n\n{_text(row, 'input')}"
    return _pair(problem, _text(row, columns["response"]))


def _read_pair(row: Row, columns: Mapping[str, str]) -> list[Turn]:
    turns: list[Turn] = []
    for role, column in (("user", columns["prompt"]), ("assistant", columns["response"])):
        if isinstance(row[column], list):
            turns += _turns(row, column)
        else:
            turns.append({"role": role, "content": _text(row, column)})
    return turns


def _read_question_answer(row: Row, columns: Mapping[str, str]) -> list[Turn]:
    response = _text(row, columns["response"])
    if "####" in response:
        # GSM8K's calculator annotations, which its publisher removes before showing a solution.
        response = re.sub(r"<<[^<>\n]*>>", "", response)
    return _pair(_text(row, columns["prompt"]), response)


def _read_svamp(row: Row, columns: Mapping[str, str]) -> list[Turn]:
    body, question = _text(row, columns["body"]).strip(), _text(row, columns["prompt"]).strip()
    equation = re.sub(r"(\d)\.0(?!\d)", r"\1", _text(row, columns["response"])).strip()
    equation = _unwrapped(equation)
    equation = equation.replace("( ", "(").replace(" )", ")")
    answer = _scalar("Answer", row.get("Answer"))
    return _pair(
        f"{body}{'' if body[-1:] in '.,?!:;' else '.'} {question}",
        f"{equation} = {answer}\nThe answer is \\boxed{{{answer}}}.",
    )


def _pair(problem: str, response: str) -> list[Turn]:
    return [{"role": "user", "content": problem}, {"role": "assistant", "content": response}]


def _unwrapped(equation: str) -> str:
    """The equation without a pair of brackets around the whole of it."""
    if not (equation.startswith("(") and equation.endswith(")")):
        return equation
    depth = 0
    for position, char in enumerate(equation):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return equation[1:-1].strip() if position == len(equation) - 1 else equation
    return equation


_CHAT = _Shape("messages", {"messages": "messages"}, _read_chat)
_PAIR = _Shape("prompt-completion", {"prompt": "prompt", "response": "completion"}, _read_pair)
# Tried in this order: the more telling columns first.
_SHAPES = (
    _Shape(
        "mindgap",
        {
            "messages": "messages",
            "expert": "expert",
            "reference": "answer",
            "tier": "tier",
            "ids": "response_token_ids",
        },
        _read_record,
    ),
    _CHAT,
    _Shape("conversations", {"messages": "conversations"}, _read_chat),
    _Shape("alpaca", {"prompt": "instruction", "response": "output"}, _read_alpaca, ("input",)),
    _PAIR,
    _Shape("svamp", {"body": "Body", "prompt": "Question", "response": "Equation"}, _read_svamp),
    _Shape("problem-solution", {"prompt": "problem", "response": "solution"}, _read_pair),
    _Shape("question-solution", {"prompt": "question", "response": "solution"}, _read_pair),
    _Shape("question-answer", {"prompt": "question", "response": "answer"}, _read_question_answer),
)
FORMATS = tuple(shape.name for shape in _SHAPES)


def _turns(row: Row, column: str) -> list[Turn]:
    value = row[column]
    if not isinstance(value, list) or not value:
        raise RowError(f"field {column}: a list of turns is wanted, this is {_kind(value)}")
    return [_turn(turn, f"{column}[{position}]") for position, turn in enumerate(value)]


def _turn(turn: Any, where: str) -> Turn:
    """A turn as {role, content}, from OpenAI's role/content or ShareGPT's from/value; further keys are kept."""
    if not isinstance(turn, dict):
        raise RowError(f"field {where}: an object is wanted, this is {_kind(turn)}")
    names = ("role", "content") if "role" in turn else ("from", "value")
    spoken = turn.get(names[0])
    role = _ROLES.get(spoken.lower()) if isinstance(spoken, str) else None
    if role is None:
        raise RowError(f"field {where}: unknown role {_short(spoken)}")
    # Parquet fills absent keys of a turn with nulls.
    rest = {key: value for key, value in turn.items() if key not in names and value is not None}
    content = turn.get(names[1])
    if content is None and rest.get("tool_calls"):
        content = ""
    if isinstance(content, list):
        content = _joined(content, where)
    if not isinstance(content, str):
        raise RowError(f"field {where}: {names[1]} must be text, this is {_kind(content)}")
    return {"role": role, "content": content, **rest}


def _joined(parts: list[Any], where: str) -> str:
    texts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise RowError(f"field {where}: only text parts can be used")
    return "".join(str(text) for text in texts)


def _text(row: Row, column: str) -> str:
    value = row.get(column)
    if not isinstance(value, str):
        raise RowError(f"field {column}: text is wanted, this is {_kind(value)}")
    if not value.strip():
        raise RowError(f"field {column}: is empty")
    return value


def _reference(row: Row, talk: Conversation, fields: Fields) -> str:
    """The reference answer: from a field, else from the demonstration's \\boxed{} or ####."""
    from mindgap_data.verify.answers import reference_answer

    if fields.answer:
        if fields.answer not in row:
            raise RowError(f"field {fields.answer}: not in the row (--answer-field); {_columns(row)}")
        named = _scalar(fields.answer, row[fields.answer])
        return reference_answer(named) or named
    for column in ANSWER_COLUMNS:
        if column not in talk.columns or talk.format == "mindgap":
            value = row.get(column)
            if value is not None and value != "":
                return _scalar(column, value)
    if found := reference_answer(talk.expert):
        return found
    raise RowError(
        "no reference answer: no \\boxed{} and no #### in the demonstration; "
        "name the column that holds it with --answer-field"
    )


def _scalar(field: str, value: Any) -> str:
    """Text of an answer or an id: whole floats lose their .0."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise RowError(f"field {field}: text or a number is wanted, this is {_kind(value)}")


def row_id(row: Row, fields: Fields) -> str | None:
    """The id a row brings, as text; None when it brings none."""
    if fields.id:
        if fields.id not in row:
            raise RowError(f"field {fields.id}: not in the row (--id-field); {_columns(row)}")
        return _scalar(fields.id, row[fields.id])
    column = next((name for name in ID_COLUMNS if row.get(name) not in (None, "")), None)
    return _scalar(column, row[column]) if column else None


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
        raise RowError(f"field {prefix}behavior_logprobs: a list of log-probabilities is wanted")
    if not isinstance(ids, list) or not all(type(token) is int and token >= 0 for token in ids):
        raise RowError(f"field {prefix}response_token_ids: the ids that behavior_logprobs belong to are wanted")
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
    turns = [*talk.prompt, {"role": "assistant", "content": talk.expert}]
    same = {"id": key, "expert": talk.expert, "answer": answer}
    extra: dict[str, Any] = {}
    for name, value in row.items():
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
        return all(_turn(turn, "") in turns for turn in value)
    return value == "" or any(value == turn["content"] for turn in turns)


def _free_name(name: str, row: Row) -> str:
    kept = f"input.{name}"
    return _free_name(kept, row) if kept in row else kept


def _check_unicode(field: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RowError(f"field {field}: half of a surrogate pair at character {error.start}, not text") from None


def _columns(row: Row) -> str:
    return "columns found: " + (", ".join(_short(name) for name in list(row)[:12]) or "none")


def _kind(value: Any) -> str:
    return "null" if value is None else f"{type(value).__name__} {_short(value)}"


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else text[:37] + "..."
