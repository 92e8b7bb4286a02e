"""Log-probs of both sides under another policy, a trained one for instance, through the engines."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from mindgap_data.engines import Engine, Failure, Score, Scores
from mindgap_data.errors import UserError
from mindgap_data.gap.records import GapRow, read_gap_records
from mindgap_data.record import Record
from mindgap_data.run.scheduler import Scheduler, Steps, Task


def rescored_rows(path: Path, engine: Engine, skipped: list[str]) -> Iterator[GapRow]:
    """Stream the rows of a rewritten file, chosen response and expert text scored by ``engine``.

    The behaviour log-probs stay as recorded: who sampled the text does not change.

    Args:
        path: a rewritten file.
        engine: the policy to measure under.
        skipped: takes one line for every row the engine cannot score; such a row is left out.

    Raises:
        UserError: the file is no rewritten file, its ids are of another tokenizer, or the engine died.
    """
    tasks = (
        Task(_score(path, line, record, engine))
        for line, record in _same_tokenizer(path, engine, read_gap_records(path, one_policy=False))
    )
    for result in Scheduler[GapRow | str](engine, verifier=None).run(tasks):
        if isinstance(result, str):
            skipped.append(result)
        else:
            yield result


def _same_tokenizer(path: Path, engine: Engine, records: Iterator[tuple[int, Record]]) -> Iterator[tuple[int, Record]]:
    for line, record in records:
        theirs, ours = record.provenance.tokenizer, engine.tokenizer.fingerprint
        if theirs != ours:
            raise UserError(
                f"{path}:{line}: provenance.tokenizer is {theirs}, that of {engine.tokenizer.name} is {ours}: the "
                "row's ids mean other text there; rescore with a model of the same tokenizer"
            )
        yield line, record


def _score(path: Path, line: int, record: Record, engine: Engine) -> Steps[GapRow | str]:
    """The row under the engine's policy, or why not."""
    recorded = GapRow.of(line, record)
    prompt = engine.tokenizer.prompt_ids([turn.model_dump() for turn in record.messages[:-1]], record.tools)
    wanted = [tuple(record.response_token_ids)]
    if recorded.tier != "expert":
        wanted.append(
            tuple(record.expert_token_ids or engine.tokenizer.demonstration_ids(record.expert, record.expert_reasoning))
        )
    longest = len(prompt) + max(map(len, wanted))
    if longest > engine.max_context:
        return f"{path}:{line}: prompt + response are {longest} tokens, the context holds {engine.max_context}"
    outcomes = yield [Score(f"{line}/{side}", prompt, ids) for side, ids in zip("ce", wanted, strict=False)]
    scores = []
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            return f"{path}:{line}: {outcome.reason}"
        assert isinstance(outcome, Scores)
        scores.append(np.array(outcome.logprobs, dtype=np.float64))
    return replace(recorded, chosen=scores[0], expert=scores[-1])
