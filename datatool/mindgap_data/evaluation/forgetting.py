"""The jobs of a forgetting scorecard: a policy's own draws with their log-probs, and the scoring of given texts."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindgap_data.engines import Engine, Failure, Score, Scores
from mindgap_data.evaluation.folder import evaluation_files
from mindgap_data.evaluation.job import EvaluationJob
from mindgap_data.evaluation.scorecard import OwnSample
from mindgap_data.evaluation.texts import GeneralText, TextScore
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.rows.reading import read_rows
from mindgap_data.rows.values import RowError
from mindgap_data.rows.writing import JsonlWriter
from mindgap_data.run.job import FailedRow, Finished, RunResult, per_row
from mindgap_data.run.outcomes import Attempt, Outcome
from mindgap_data.run.scheduler import Steps, Task


@dataclass(frozen=True)
class OwnDrawsJob(EvaluationJob):
    """An evaluation whose draws keep their ids and log-probs, so that another policy can score them."""

    name: str = "draw"

    def keep(self, attempt: Attempt) -> Attempt:
        """All of it."""
        return attempt

    def shown(self, outcome: Outcome) -> dict[str, Any]:
        """A draw, with its ids and their log-probs."""
        draw = super().shown(outcome)
        if isinstance(outcome, Attempt):
            draw |= {"token_ids": list(outcome.token_ids), "logprobs": list(outcome.logprobs)}
        return draw


@dataclass(frozen=True)
class ScoredItem:
    """Ids to score after a prompt."""

    id: str
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]


@dataclass(frozen=True)
class ScoringJob:
    """Scores items: a :class:`mindgap_data.run.job.Job` that writes {id, logprobs} a line."""

    items: Sequence[ScoredItem]
    settings: Mapping[str, Any]
    source: str
    name: str = "score"
    done: str = "scored"

    def total(self) -> int:
        """Items."""
        return len(self.items)

    def tasks(self) -> Iterator[Task[Finished[dict[str, Any]] | FailedRow]]:
        """A task an item."""
        for line, item in enumerate(self.items, start=1):
            yield Task(per_row(lambda item=item: _score(item), line, item.id, {"id": item.id}))  # type: ignore[misc]

    def keep(self, attempt: Attempt) -> Attempt:
        """Nothing is drawn."""
        return attempt

    def writer(self, path: Path) -> JsonlWriter:
        """The output file."""
        return JsonlWriter(path)

    def add(self, value: dict[str, Any]) -> str:
        """Count one item."""
        return "scored"

    def summary(self, result: RunResult) -> str:
        """What makes the folder a finished one."""
        return (
            json.dumps({"benchmarks": [], "scored": result.written, "settings": dict(self.settings)}, indent=2) + "\n"
        )


def _score(item: ScoredItem) -> Steps[dict[str, Any]]:
    (outcome,) = yield [Score(item.id, item.prompt_ids, item.response_ids)]
    if not isinstance(outcome, Scores):
        raise RowError(outcome.reason if isinstance(outcome, Failure) else "not scored")
    return {"id": item.id, "logprobs": list(outcome.logprobs)}


def text_items(texts: Iterable[GeneralText], engine: Engine) -> Iterator[ScoredItem]:
    """The texts as plain text, each from its second token on, up to what the context holds."""
    for text in texts:
        ids = engine.tokenizer.response_ids(text.text)[:-1][: engine.max_context]
        yield ScoredItem(text.id, ids[:1], ids[1:])


def read_text_scores(folder: Path, texts: Iterable[GeneralText]) -> list[TextScore]:
    """The scores of a finished job on the texts, in their order."""
    logprobs = _read_logprobs(folder)
    return [TextScore(text.id, text.register, -sum(found := logprobs[text.id]), len(found)) for text in texts]


def own_draws(folder: Path, tokenizer: ChatTokenizer) -> Iterator[tuple[ScoredItem, Sequence[float]]]:
    """(ids to score, log-probs under the policy that drew them) of every draw of a finished evaluation."""
    for _, row in read_rows(evaluation_files(folder).output):
        prompt = tokenizer.prompt_ids(row["messages"], row.get("tools"))
        for number, draw in enumerate(row["draws"]):
            if draw.get("token_ids"):
                key = f"{row['benchmark']}/{row['id']}/{number}"
                yield ScoredItem(key, prompt, tuple(draw["token_ids"])), draw["logprobs"]


def own_samples(draws: Iterable[tuple[ScoredItem, Sequence[float]]], before: Path) -> list[OwnSample]:
    """The draws beside their log-probs under the policy before, from the folder of its scoring job."""
    logprobs = _read_logprobs(before)
    return [OwnSample(own, logprobs[item.id]) for item, own in draws if item.id in logprobs]


def _read_logprobs(folder: Path) -> dict[str, list[float]]:
    return {row["id"]: row["logprobs"] for _, row in read_rows(evaluation_files(folder).output)}
