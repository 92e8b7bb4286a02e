"""What to rewrite, and how: the options that `rewrite` and `retry` share."""

from functools import wraps
from pathlib import Path
from typing import Any, cast

import click

from mindgap_data.commands.options.files import INPUT_FILE, default_output, output_path
from mindgap_data.commands.options.group import F
from mindgap_data.commands.options.policy import policy_options
from mindgap_data.commands.options.rows import Reading, input_options
from mindgap_data.commands.options.sampling import sampling_options
from mindgap_data.commands.options.verifier import verifier_options
from mindgap_data.engines import Sampling
from mindgap_data.engines.open import Policy
from mindgap_data.errors import UserError
from mindgap_data.record import TIERS, Tier
from mindgap_data.rewrite.guided import ladder
from mindgap_data.rewrite.job import RewriteRequest
from mindgap_data.rewrite.pickers import Picker
from mindgap_data.rewrite.previous import KEEP_WITHIN, PreviousRound, read_previous
from mindgap_data.rewrite.stages import RewriteOptions
from mindgap_data.rows.inputs import InputRows, Turns
from mindgap_data.rows.sources import open_source
from mindgap_data.run.job import RunFiles
from mindgap_data.run.shards import Shard
from mindgap_data.verify.settings import VerifierSettings


class ShardType(click.ParamType):
    """A part of the rows, as I/N."""

    name = "I/N"

    def convert(self, value: str | Shard, param: click.Parameter | None, ctx: click.Context | None) -> Shard:
        """The part."""
        if isinstance(value, Shard):
            return value
        index, slash, count = value.partition("/")
        if not (slash and index.isascii() and index.isdigit() and count.isascii() and count.isdigit()):
            self.fail(f"{value!r}: give it as I/N, for example 2/8", param, ctx)
        if not 1 <= int(index) <= int(count):
            self.fail(f"{value!r}: I goes from 1 to N", param, ctx)
        return Shard(int(index), int(count))


def rewriting_options(function: F) -> F:
    """Hands the command a :class:`RewriteRequest` as ``request`` and its :class:`RunFiles` as ``files``."""

    @click.argument("input", metavar="INPUT")
    @click.option(
        "-o",
        "--output",
        metavar="FILE",
        help="Output: JSONL, or gzip or parquet if it ends in .gz or .parquet; - is standard output. "
        "[default: INPUT.rewritten.jsonl]",
    )
    @click.option(
        "--stages", default="self,guided,expert", show_default=True, help="Stages to go through, in this order."
    )
    @click.option(
        "--samples",
        type=click.IntRange(min=1),
        default=4,
        show_default=True,
        help="Cap on draws per problem and stage; drawing stops at the first correct one.",
    )
    @click.option(
        "--picker",
        type=click.Choice(["first", "grape", "shortest"]),
        default="first",
        show_default=True,
        help="Which correct draw: first (a uniform pick, at a fraction of the tokens), grape (highest mean policy "
        "log-prob) or shortest. The last two draw all samples.",
    )
    @click.option(
        "--pick-guided",
        type=click.Choice(["first", "grape", "shortest", "sir"]),
        help="Picker of the guided stage; sir: importance resampling towards the plain prompt, which draws and scores "
        "all samples. [default: that of --picker]",
    )
    @click.option(
        "--sir-power",
        type=click.FloatRange(0, 1),
        default=1.0,
        show_default=True,
        help="Power of the weights in `--pick-guided sir`; 0 is a uniform pick.",
    )
    @click.option(
        "--hints",
        default="full",
        show_default=True,
        help="What the guided stage shows, one try after the other: some of answer, partial (the first part of the "
        "solution) and full (the solution and the answer), in this order.",
    )
    @click.option(
        "--guided-template",
        "guided_templates",
        multiple=True,
        metavar="[HINT=]FILE",
        help="Jinja file for the guided prompt of a hint (without HINT: of full), with problem, solution, answer. "
        "Repeatable.",
    )
    @click.option(
        "--require-working",
        is_flag=True,
        help="Keep no guided response that only states the answer where the expert shows how to find it. Always so for "
        "the hints answer and partial.",
    )
    @click.option(
        "--score-expert/--no-score-expert",
        default=True,
        show_default=True,
        help="Also score every expert demonstration, so that `gap` can compare before and after.",
    )
    @click.option("--seed", type=int, default=0, show_default=True, help="Seed of the draws.")
    @click.option(
        "--round",
        "round_",
        type=click.IntRange(min=0),
        help="Recorded: 0 for the base model, n after the n-th retraining. [default: 0, or one after --previous]",
    )
    @click.option(
        "--previous",
        type=INPUT_FILE,
        help="Rewritten file of the round before: responses the policy still finds likely are kept, the rest drawn "
        "again.",
    )
    @click.option(
        "--keep-within",
        type=click.FloatRange(min=1),
        default=KEEP_WITHIN,
        show_default=True,
        help="C: an earlier response is kept where exp(mean(log π - behaviour)) lies between 1/C and C (--previous).",
    )
    @click.option(
        "--shard",
        type=ShardType(),
        help="Use only part I of N of the rows, by a hash of their ids; `mindgap-data merge` puts the parts together.",
    )
    @click.option(
        "--turns",
        type=click.Choice(["last", "all"]),
        default="last",
        show_default=True,
        help="Which assistant turns of a conversation are rewritten: the last one, or all, each as a row of its own "
        "whose history is the expert's.",
    )
    @click.option("--limit", type=click.IntRange(min=1), help="Use only the first rows.")
    @verifier_options
    @sampling_options(max_tokens=2048)
    @input_options
    @policy_options
    @wraps(function)
    def with_request(
        input: str,
        output: str | None,
        stages: str,
        samples: int,
        picker: Picker,
        pick_guided: Picker | None,
        sir_power: float,
        hints: str,
        guided_templates: tuple[str, ...],
        require_working: bool,
        score_expert: bool,
        seed: int,
        round_: int | None,
        previous: Path | None,
        keep_within: float,
        shard: Shard | None,
        turns: Turns,
        limit: int | None,
        verifier: VerifierSettings,
        sampling: Sampling,
        reading: Reading,
        policy: Policy,
        **own: Any,
    ) -> Any:
        if sampling.temperature == 0:
            raise UserError(
                "--temperature 0 draws the same response every time, with no behaviour policy; use 0.7 or 1"
            )
        if sir_power != 1 and pick_guided != "sir":
            raise UserError(f"--sir-power {sir_power:g} is for --pick-guided sir; add that, or leave it out")
        files = RunFiles.beside(output_path(output, input) if output else default_output(input, "rewritten"))
        source, needs_answer = open_source(input), verifier.needs_answer
        rows = InputRows(source, reading.fields, reading.instruction, limit, turns, needs_answer=needs_answer)
        before = None if previous is None else _previous(previous, rows, files)
        request = RewriteRequest(
            rows=rows,
            policy=policy,
            sampling=sampling,
            verifier=verifier,
            options=RewriteOptions(
                stages=_stages(stages),
                samples=samples,
                picker=picker,
                guided=ladder(hints, guided_templates),
                score_expert=score_expert,
                seed=seed,
                round=_round(round_, before),
                keep_within=keep_within,
                guided_picker=pick_guided,
                sir_power=sir_power,
                require_working=require_working,
            ),
            shard=shard,
            previous=before,
        )
        return function(request=request, files=files, **own)

    return cast(F, with_request)


def _previous(path: Path, rows: InputRows, files: RunFiles) -> PreviousRound:
    if path == files.output:
        raise UserError(f"{path}: cannot be the output and --previous at once; choose another -o")
    return read_previous(path, rows)


def _round(given: int | None, previous: PreviousRound | None) -> int:
    if previous is None:
        return given or 0
    if given is not None and given <= previous.round:
        raise UserError(f"--round {given}: {previous.path} is of round {previous.round}; leave out --round")
    return previous.round + 1 if given is None else given


def _stages(text: str) -> tuple[Tier, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in TIERS]
    if unknown or not names or list(names) != [tier for tier in TIERS if tier in names]:
        raise UserError(f"--stages {text}: name some of self,guided,expert, in this order, each once")
    return cast(tuple[Tier, ...], names)
