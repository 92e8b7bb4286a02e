"""Records as the rows that other trainers read: conversations, without log-probs."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mindgap_data.errors import UserError
from mindgap_data.record import Message, Record
from mindgap_data.rows.elsewhere import deliver
from mindgap_data.rows.jsonl import dumps
from mindgap_data.rows.parquet import require_pyarrow
from mindgap_data.rows.values import RowError
from mindgap_data.rows.writing import AtomicWriter, JsonlWriter

Row = dict[str, Any]
_BATCH = 256  # rows of a parquet file written at a time


def trl_row(record: Record) -> Row:
    """TRL's conversational prompt-completion: the trainer masks the prompt by itself."""
    turns = [_kept(turn) for turn in record.messages]
    return {"id": record.id, "tier": record.tier, "prompt": turns[:-1], "completion": turns[-1:], **_tools(record)}


def llamafactory_row(record: Record) -> Row:
    """LLaMA-Factory's `sharegpt` formatting, with the tags that :func:`dataset_info` names."""
    return {"messages": _plain_turns(record, "llamafactory")}


def swift_row(record: Record) -> Row:
    """ms-swift's `messages`; earlier assistant turns are not trained on."""
    return {"messages": _marked(_plain_turns(record, "swift"), {"loss": False})}


def openai_row(record: Record) -> Row:
    """OpenAI's chat fine-tuning; earlier assistant turns have weight 0. It has no place for a thought: left out."""
    known = ("role", "content", "name", "tool_calls", "tool_call_id")
    turns = [{key: value for key, value in _kept(turn).items() if key in known} for turn in record.messages]
    tools = {name: json.loads(text) for name, text in _tools(record).items()}
    return {"messages": _marked(turns, {"weight": 0}), **tools}


def verl_row(record: Record) -> Row:
    """Both of verl's: `messages` for its SFT, `prompt`, `reward_model` and `extra_info` for its RL."""
    turns = _plain_turns(record, "verl")
    return {
        "data_source": "mindgap",
        "messages": turns,
        "prompt": turns[:-1],
        "ability": record.provenance.verifier,
        "reward_model": {"style": "rule", "ground_truth": record.answer},
        "extra_info": {"id": record.id, "tier": record.tier, "pass_rate": record.attempts.pass_rate},
    }


TARGETS: Mapping[str, Callable[[Record], Row]] = MappingProxyType(
    {
        "trl": trl_row,
        "llamafactory": llamafactory_row,
        "swift": swift_row,
        "verl": verl_row,
        "openai": openai_row,
    }
)


def export(records: Iterable[tuple[int, Record]], target: str, output: Path) -> int:
    """Write every record for ``target``; returns how many. JSONL, for verl parquet.

    Raises:
        UserError: the format has no place for what a row holds, the disk failed, or pyarrow is missing.
    """
    rows = (_row(line, record, target) for line, record in records)
    written = _write_parquet(rows, output) if target == "verl" else _write_jsonl(rows, output)
    if target == "llamafactory":
        _register(output)
    return written


def dataset_info(output: Path) -> dict[str, Any]:
    """The entry of LLaMA-Factory's dataset_info.json that reads ``output``."""
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    return {
        "file_name": output.name,
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {**tags, "system_tag": "system"},
    }


def _row(line: int, record: Record, target: str) -> Row:
    try:
        return TARGETS[target](record)
    except RowError as error:
        raise UserError(f"row {record.id!r} of line {line}: {error}") from None


def _kept(turn: Message) -> Row:
    return turn.model_dump(exclude_unset=True)


def _tools(record: Record) -> dict[str, str]:
    """The functions a row offers, as JSON text: a typed column would fill in each other's absent keys."""
    if not record.tools:
        return {}
    return {"tools": record.tools if isinstance(record.tools, str) else dumps(record.tools)}


def _plain_turns(record: Record, target: str) -> list[Row]:
    """Role and content of every turn, a thought before it in the tags these trainers look for."""
    turns: list[Row] = []
    for turn in record.messages:
        if turn.role not in ("system", "user", "assistant") or _kept(turn).get("tool_calls"):
            raise RowError(f"a turn of a tool has no place in the format of {target}; export it --to trl or openai")
        thought = f"<think>\n{turn.reasoning_content.strip()}\n</think>\n\n" if turn.reasoning_content else ""
        turns.append({"role": turn.role, "content": thought + turn.content})
    return turns


def _marked(turns: list[Row], mark: Row) -> list[Row]:
    """The turns with ``mark`` on every assistant turn that is not the chosen response, which is the last."""
    return [{**turn, **mark} if turn["role"] == "assistant" else turn for turn in turns[:-1]] + turns[-1:]


def _write_jsonl(rows: Iterable[Row], output: Path) -> int:
    written = 0
    with JsonlWriter(output) as writer:
        for row in rows:
            writer.write(row)
            written += 1
        writer.finish()
    return written


def _write_parquet(rows: Iterator[Row], output: Path) -> int:
    require_pyarrow(output)
    import pyarrow
    import pyarrow.parquet

    text = pyarrow.string()
    turns = pyarrow.list_(pyarrow.struct({"role": text, "content": text}))
    schema = pyarrow.schema(
        {
            "data_source": text,
            "messages": turns,
            "prompt": turns,
            "ability": text,
            "reward_model": pyarrow.struct({"style": text, "ground_truth": text}),
            "extra_info": pyarrow.struct({"id": text, "tier": text, "pass_rate": pyarrow.float64()}),
        }
    )
    written = 0
    part = output.with_name(f"{output.name}.part")
    try:
        with pyarrow.parquet.ParquetWriter(part, schema) as writer:
            while batch := list(islice(rows, _BATCH)):
                writer.write_table(pyarrow.Table.from_pylist(batch, schema))
                written += len(batch)
        os.replace(part, output)
        deliver(output)
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return written


def _register(output: Path) -> None:
    """Put ``output`` into the dataset_info.json of its folder, beside what that names already."""
    path = output.with_name("dataset_info.json")
    try:
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        entries = {**known, output.stem: dataset_info(output)}
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: is no JSON object of datasets; move it away or choose another -o") from error
    with AtomicWriter(path) as writer:
        writer.write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n")
        writer.finish()
