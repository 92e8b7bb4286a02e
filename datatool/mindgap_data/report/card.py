"""The dataset card of a rewritten file: YAML for the hub, and Markdown on its rows, its gap and how it was made."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mindgap_data import __version__
from mindgap_data.checks.shared import unchecked_findings
from mindgap_data.errors import UserError, one_line
from mindgap_data.gap.figures import GapFigures, Settings
from mindgap_data.gap.measure import measure
from mindgap_data.record import TIERS, Record
from mindgap_data.rows.records import read_records

PAPER = "[Mind the Gap](https://arxiv.org/abs/2509.15157)"
SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M", 10_000_000: "1M<n<10M"}
MEANINGS = {
    "self": "the model's own response to the plain prompt",
    "guided": "the model's response after it was shown the demonstration",
    "expert": "the demonstration, as it was",
}
# Fields of provenance -> how the card calls them; in this order.
PROVENANCE = {
    "model": "policy",
    "revision": "revision",
    "adapter": "adapter",
    "engine": "engine",
    "dtype": "dtype",
    "sampling": "sampling",
    "selection": "selection",
    "verifier": "verifier",
    "verifier_kind": "kind of verifier",
    "seed": "seed",
    "round": "round",
    "tool_version": "mindgap",
}
_VALUES = 4  # of a field that are shown
_KEPT = 50  # of a field that are kept


@dataclass
class _Tally:
    """What one pass over the rows counts."""

    tiers: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)  # verifier_kind -> self and guided rows
    draws: dict[str, Counter[str]] = field(default_factory=dict)  # stage -> outcome -> draws
    pass_rates: list[float] = field(default_factory=list)
    provenance: dict[str, dict[str, None]] = field(default_factory=dict)  # field -> its values, as first seen

    def add(self, record: Record) -> None:
        self.tiers[record.tier] += 1
        if record.tier != "expert":
            self.kinds[record.provenance.verifier_kind or "checked"] += 1
        for stage, counts in record.attempts.by_stage().items():
            self.draws.setdefault(stage, Counter()).update(counts.model_dump())
        if record.attempts.pass_rate is not None:
            self.pass_rates.append(record.attempts.pass_rate)
        for name in PROVENANCE:
            value = getattr(record.provenance, name)
            seen = self.provenance.setdefault(name, {})
            if value is not None and len(seen) < _KEPT:
                seen[_text(value)] = None


def dataset_card(path: Path, data_name: str, repository: str, license_id: str | None) -> str:
    """The card of a rewritten file.

    Args:
        path: the file.
        data_name: what it is called in the repository.
        repository: name, or user/name, on the hub.
        license_id: of the data, as the hub names it; None: unknown.

    Raises:
        UserError: at the first row that is not a valid record.
    """
    from huggingface_hub import DatasetCard, DatasetCardData

    tally = _Tally()
    for _, record in read_records(path):
        tally.add(record)
    rows = tally.tiers.total()
    data = DatasetCardData(
        license=license_id,
        size_categories=next((name for limit, name in SIZES.items() if rows < limit), "n>10M"),
        task_categories="text-generation",
        tags=["mindgap", "supervised-fine-tuning", "off-policy"],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": data_name}]}],
    )
    body = "\n".join(_body(path, tally, repository, license_id))
    return str(DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n"))


def _body(path: Path, tally: _Tally, repository: str, license_id: str | None) -> Iterator[str]:
    rows = tally.tiers.total()
    yield f"# {repository.rpartition('/')[2]}\n"
    yield (
        f"{rows:,} rows of fine-tuning data, rewritten onto the policy {_shown(tally.provenance['model'])} with "
        f"mindgap {_shown(tally.provenance['tool_version'])}, after {PAPER}: an accepted response of the model's own "
        "stands in place of the expert's, where it found one.\n"
    )
    yield "## Rows\n"
    yield "| tier | rows | share | the response is |\n| --- | ---: | ---: | --- |"
    for tier in TIERS:
        yield f"| {tier} | {tally.tiers[tier]:,} | {tally.tiers[tier] / rows:.1%} | {MEANINGS[tier]} |"
    yield from _draws(tally)
    for finding in unchecked_findings(tally.kinds["unchecked"], tally.kinds.total()):
        yield f"\n**{finding.title}**: {finding.detail}. {finding.advice}"
    yield "\n## The policy gap\n"
    yield from _gap(path)
    yield "\n## How it was made\n"
    for name, title in PROVENANCE.items():
        if tally.provenance[name]:
            yield f"- {title}: {_shown(tally.provenance[name])}"
    if settings := _settings(path):
        yield "\nThe settings of the run:\n"
        yield from (f"- {_code(name)}: {_code(value)}" for name, value in settings.items())
    yield "\n## Use\n"
    yield f'```python\nfrom datasets import load_dataset\n\nrows = load_dataset("{repository}", split="train")\n```\n'
    yield (
        "`messages` is the conversation; its last turn is the response to train on. `response_token_ids`, "
        "`behavior_logprobs` and `policy_logprobs` are what importance weights need; `expert` is the demonstration, "
        "and `provenance` says of every row how it came to be."
    )
    yield "\n## Licence\n"
    if license_id is None:
        yield "Unknown: whoever published these rows has not said which licence their source has."
    else:
        yield f"`{license_id}`, as given by whoever published these rows."
    yield f"\nCard and file were published with `mindgap-data push`, mindgap {__version__}."


def _draws(tally: _Tally) -> Iterator[str]:
    if tally.draws:
        accepted = "accepted" if tally.kinds["unchecked"] else "correct"
        yield f"\n| stage | draws | {accepted} | truncated |\n| --- | ---: | ---: | ---: |"
        for stage, draws in tally.draws.items():
            yield f"| {stage} | {draws['sampled']:,} | {draws['correct']:,} | {draws['truncated']:,} |"
    if rates := tally.pass_rates:
        yield (
            f"\nPass rate of the plain prompt: {sum(rates) / len(rates):.1%}, the mean over {len(rates):,} rows. It is "
            "biased upward where drawing stopped at the first correct response."
        )


def _gap(path: Path) -> Iterator[str]:
    try:
        figures = measure(path, Settings()).figures["all"]
    except UserError as error:  # rows of two policies, as a merged file may have
        yield f"Not measured: {_code(error.message.removeprefix(f'{path}:'))}"
        return
    assert figures is not None
    yield from _gap_table(figures)


def _gap_table(figures: GapFigures) -> Iterator[str]:
    yield "Nats per token under the policy, with 95% bootstrap intervals over rows.\n"
    yield "| | |\n| --- | ---: |"
    lines = {
        "NLL of the expert's text": None if figures.before is None else figures.before.nll,
        "NLL of the response": figures.after.nll,
        "response - expert, by problem": figures.difference,
    }
    for title, value in lines.items():
        if value is not None:
            yield f"| {title} | {value.estimate:.3f} [{value.low:.3f}, {value.high:.3f}] |"
    if figures.paired < figures.rows:
        yield f"\nThe expert's text was scored in {figures.paired:,} of {figures.rows:,} rows."


def _settings(path: Path) -> dict[str, Any]:
    """The settings that the run's summary beside the file tells and the rows do not; none where there is no summary."""
    try:
        found = json.loads(path.with_name(f"{path.name}.summary.json").read_text(encoding="utf-8"))["settings"]
        return {name: value for name, value in found.items() if name not in PROVENANCE and value is not None}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _shown(values: Mapping[str, None]) -> str:
    """The values that rows have in one field, as code; never more than a few."""
    more = f" and {len(values) - _VALUES} more" if len(values) > _VALUES else ""
    return ", ".join(_code(value) for value in list(values)[:_VALUES]) + more


def _code(value: Any) -> str:
    """A value as a code span of Markdown, which nothing in it can end: rows come from anywhere."""
    return f"`{one_line(_text(value), 200).replace('`', chr(39)) or ' '}`"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
