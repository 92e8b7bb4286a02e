"""The shapes rows come in: which columns mark each, and how its conversation is read."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mindgap_data.errors import one_line
from mindgap_data.rows.turns import Turn, read_turn, turns_of
from mindgap_data.rows.values import Row, RowError, scalar_text, text_of


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
    prompt: tuple[Turn, ...]  # everything before the target
    demonstration: Turn  # the target: an assistant turn, as a rule the last
    is_last: bool  # whether no later assistant turn could be the target
    columns: frozenset[str]  # the columns they were read from

    @property
    def expert(self) -> str:
        """The demonstration's text."""
        return str(self.demonstration["content"])

    @property
    def thought(self) -> str | None:
        """What the expert thought before it."""
        return self.demonstration.get("reasoning_content")

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The tools it calls: OpenAI's objects, their arguments as JSON text."""
        return self.demonstration.get("tool_calls") or []


@dataclass(frozen=True)
class _Shape:
    """A format: the columns that mark it, by what they hold, and how its turns are read."""

    name: str
    columns: Mapping[str, str]  # field of Fields, or a further column -> default name
    read: Callable[[Row, Mapping[str, str]], list[Turn]]
    optional: tuple[str, ...] = ()  # read where present


def conversation(row: Row, fields: Fields, turn: int | None = None) -> Conversation:
    """The prompt and the demonstration of a row, no reference answer asked for.

    Args:
        row: as read.
        fields: what the user says of the columns.
        turn: which of the row's :func:`targets` is the demonstration, from 1; None is the last assistant turn.

    Raises:
        RowError: unrecognised columns, or a turn that cannot be used.
    """
    shape, field, turns, used = _read(row, fields)
    found = [i for i, one in enumerate(turns) if one["role"] == "assistant"] if turn is None else _usable(turns)
    if not found:
        raise RowError(f"field {field}: no assistant turn to rewrite")
    at = found[-1 if turn is None else turn - 1]
    if not any(one["role"] == "user" for one in turns[:at]):
        raise RowError(f"field {field}: no user turn before the last assistant turn")
    if not _is_usable(turns[at]):
        raise RowError(f"field {field}: the last assistant turn has neither text nor tool calls")
    return Conversation(shape.name, tuple(turns[:at]), turns[at], at == found[-1], used)


def targets(row: Row, fields: Fields) -> int:
    """How many assistant turns of a row can be demonstrations.

    Raises:
        RowError: as of :func:`conversation`.
    """
    shape, _, turns, _ = _read(row, fields)
    return 1 if shape.name == "mindgap" else len(_usable(turns))


def _usable(turns: list[Turn]) -> list[int]:
    """Where the assistant turns stand that say something to a user."""
    first = next((i for i, one in enumerate(turns) if one["role"] == "user"), len(turns))
    return [i for i, one in enumerate(turns) if i > first and one["role"] == "assistant" and _is_usable(one)]


def _is_usable(turn: Turn) -> bool:
    return bool(turn["content"].strip() or turn.get("tool_calls"))


def _read(row: Row, fields: Fields) -> tuple["_Shape", str, list[Turn], frozenset[str]]:
    """(shape, column that the prompt is in, all turns, columns that were read) of a row."""
    shape, columns = _recognise(row, fields)
    turns = shape.read(row, columns)
    used = {*columns.values(), *(name for name in shape.optional if name in row)}
    system = fields.system or ("system" if shape.name in ("conversations", "alpaca") else None)
    if system and row.get(system) not in (None, "") and turns[0]["role"] not in ("system", "developer"):
        turns = [{"role": "system", "content": text_of(row, system)}, *turns]
        used.add(system)
    return shape, columns.get("messages") or columns["prompt"], turns, frozenset(used)


def _recognise(row: Row, fields: Fields) -> tuple[_Shape, Mapping[str, str]]:
    shapes = _named_shapes(fields)
    # A merged table has every source's columns in every row, null where the row is another's.
    for present in (lambda column: row.get(column) is not None, row.__contains__):
        for shape, columns in shapes:
            if all(present(column) for column in columns.values()):
                return shape, columns
    found = ", ".join(one_line(name, 40) for name in list(row)[:12]) or "none"
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
    expert = {"role": "assistant", "content": text_of(row, "expert"), "reasoning_content": row.get("expert_reasoning")}
    return [*turns_of(row, columns["messages"])[:-1], read_turn(expert, "expert")]


def _read_chat(row: Row, columns: Mapping[str, str]) -> list[Turn]:
    return turns_of(row, columns["messages"])


def _read_alpaca(row: Row, columns: Mapping[str, str]) -> list[Turn]:
    problem = text_of(row, columns["prompt"])
    if row.get("input") not in (None, ""):
        problem = f"{problem}\n\n{text_of(row, 'input')}"
    return _pair(problem, text_of(row, columns["response"]))


def _read_pair(row: Row, columns: Mapping[str, str]) -> list[Turn]:
    turns: list[Turn] = []
    for role, column in (("user", columns["prompt"]), ("assistant", columns["response"])):
        if isinstance(row[column], list):
            turns += turns_of(row, column)
        else:
            turns.append({"role": role, "content": text_of(row, column)})
    return turns


def _read_question_answer(row: Row, columns: Mapping[str, str]) -> list[Turn]:
    response = text_of(row, columns["response"])
    if "####" in response:
        # GSM8K's calculator annotations, which its publisher removes before showing a solution.
        response = re.sub(r"<<[^<>\n]*>>", "", response)
    return _pair(text_of(row, columns["prompt"]), response)


def _read_svamp(row: Row, columns: Mapping[str, str]) -> list[Turn]:
    body, question = text_of(row, columns["body"]).strip(), text_of(row, columns["prompt"]).strip()
    equation = re.sub(r"(\d)\.0(?!\d)", r"\1", text_of(row, columns["response"])).strip()
    equation = _unwrapped(equation)
    equation = equation.replace("( ", "(").replace(" )", ")")
    answer = scalar_text("Answer", row.get("Answer"))
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
