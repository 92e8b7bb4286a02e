"""What fine-tuning cost: one policy's scores after against before, paired by text and by problem."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mindgap_data.errors import UserError
from mindgap_data.evaluation.compare import SIGNIFICANCE, Comparison, holm
from mindgap_data.evaluation.texts import TextScore
from mindgap_data.importance import kl_k1, kl_k3
from mindgap_data.statistics import Interval, bootstrap_interval, paired_bootstrap


@dataclass(frozen=True)
class OwnSample:
    """A response the policy drew, with its log-probs under that policy and under the one before; nats [T]."""

    logprobs: Sequence[float]
    before_logprobs: Sequence[float]


@dataclass(frozen=True)
class TextChange:
    """Mean NLL per token of general texts, every text with the same weight."""

    texts: int
    before: float
    after: float
    difference: Interval  # after - before, nats per token; positive is worse
    p_value: float  # paired bootstrap over texts
    registers: Mapping[str, float]  # register -> difference, for reading alone: there are few texts of each


@dataclass(frozen=True)
class Divergence:
    """KL(after || before) per token, on responses drawn from the policy after."""

    samples: int
    tokens: int
    k1: Interval  # unbiased
    k3: Interval  # unbiased, of lower variance


@dataclass(frozen=True)
class Scorecard:
    """One policy against the one before."""

    name: str
    text: TextChange
    tasks: tuple[Comparison, ...]  # instructions first, then the files the user named
    divergence: Divergence | None  # None where draws are not from the policy itself

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        text = {**asdict(self.text), "difference": self.text.difference.as_dict()}
        divergence = self.divergence and {
            **asdict(self.divergence),
            "k1": self.divergence.k1.as_dict(),
            "k3": self.divergence.k3.as_dict(),
        }
        tasks = [task.as_dict() for task in self.tasks]
        return {"name": self.name, "text": text, "tasks": tasks, "divergence": divergence, "in_words": self.in_words()}

    def in_words(self) -> list[str]:
        """What was forgotten, a sentence a measure; with the tests corrected for their number (Holm 1979)."""
        text_p, *task_p = holm([self.text.p_value, *(task.p_value for task in self.tasks)])
        low, high = self.text.difference.low, self.text.difference.high
        numbers = f"{self.text.difference.estimate:+.3f} nats per token, 95% interval {low:+.3f} to {high:+.3f}"
        said = [f"General text: {_verdict(text_p, -self.text.difference.estimate)} ({numbers}, p = {text_p:.3f})."]
        for task, p_value in zip(self.tasks, task_p, strict=True):
            change, low, high = (100 * getattr(task.difference, name) for name in ("estimate", "low", "high"))
            numbers = f"{change:+.1f} points, 95% interval {low:+.1f} to {high:+.1f}, p = {p_value:.3f}"
            said.append(f"{task.name}: {_verdict(p_value, change)} ({numbers}, {task.problems} problems).")
        return said


def read_scorecards(path: Path) -> list[dict[str, Any]]:
    """The cards of a scorecard.json, as :meth:`Scorecard.as_dict` gives them.

    Raises:
        UserError: the file cannot be read, or is something else.
    """
    try:
        cards = json.loads(path.read_text(encoding="utf-8"))["after"]
        if all(isinstance(card["text"]["difference"], dict) and isinstance(card["tasks"], list) for card in cards):
            return list(cards)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a scorecard; name the scorecard.json of `mindgap-data forget`") from error
    raise UserError(f"{path}: not a scorecard; name the scorecard.json of `mindgap-data forget`")


def text_change(before: Sequence[TextScore], after: Sequence[TextScore]) -> TextChange:
    """The change of NLL on the same texts, in the same order."""
    a, b = (np.array([score.per_token for score in scores]) for scores in (before, after))
    test = paired_bootstrap([(a, b)])
    names = list(dict.fromkeys(score.register for score in before))
    of = np.array([score.register for score in before])
    registers = {name: float(np.mean((b - a)[of == name])) for name in names}
    return TextChange(len(a), float(a.mean()), float(b.mean()), test.difference, test.p_value, registers)


def divergence(samples: Sequence[OwnSample]) -> Divergence:
    """KL to the policy before, with bootstrap intervals over responses."""
    # l = log pi_before - log pi_after on draws from pi_after, as importance.kl_k1 and kl_k3 take it.
    ratios = [np.subtract(sample.before_logprobs, sample.logprobs) for sample in samples]
    tokens = np.array([len(ratio) for ratio in ratios], dtype=np.float64)

    def interval(sums: list[float]) -> Interval:
        return bootstrap_interval(np.stack([sums, tokens], axis=1), lambda s: s[..., 0] / s[..., 1])

    return Divergence(
        samples=len(samples),
        tokens=int(tokens.sum()),
        k1=interval([float(kl_k1(ratio).sum()) for ratio in ratios]),
        k3=interval([float(kl_k3(ratio).sum()) for ratio in ratios]),
    )


def _verdict(p_value: float, gain: float) -> str:
    if p_value >= SIGNIFICANCE:
        return "not told apart from before"
    return "better than before" if gain > 0 else "worse than before"
