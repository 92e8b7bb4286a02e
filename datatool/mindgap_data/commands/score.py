"""`mindgap-data score`: policy log-probs for a rewritten file, or for plain SFT data."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from mindgap_data.commands.options import (
    SectionedCommand,
    fields_from,
    input_options,
    policy_from,
    policy_options,
    whose_logprobs,
)
from mindgap_data.engines import Sampling
from mindgap_data.engines.open import choose_engine, open_engine
from mindgap_data.rewrite.job import OutputPaths
from mindgap_data.rewrite.scoring import ScoreRun
from mindgap_data.rows.sources import open_source


@click.command("score", cls=SectionedCommand)
@click.argument("input", metavar="FILE")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Output JSONL.")
@click.option(
    "--expert", "score_expert", is_flag=True, help="Also score the expert's text of every rewritten row, for `gap`."
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first rows.")
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
@click.option("--restart", is_flag=True, help="Forget an unfinished run of this output.")
@click.option("--quiet", is_flag=True, help="No progress.")
@input_options
@policy_options
def command(**options: Any) -> None:
    """Write FILE again with policy_logprobs under a model: temperature 1, the plain prompt, exact ids.

    Rewritten rows keep their ids, tier and behaviour log-probs; rows of a plain SFT file become
    records of the expert tier. provenance.policy says whose log-probs they are.

    \b
    Example:
      mindgap-data score sft.jsonl -o sft.scored.jsonl
    """
    source = open_source(options["input"])
    policy = policy_from(options)
    paths = OutputPaths(options["output"])
    paths.refuse_existing(options["overwrite"])
    if options["restart"]:
        paths.journal.unlink(missing_ok=True)
    if not options["quiet"]:
        name, why = choose_engine(policy.settings)
        print(f"engine {name} ({why}), model {policy.spec.model}", file=sys.stderr)
    engine = open_engine(policy.spec, Sampling(), policy.settings)
    try:
        whose = whose_logprobs(policy, engine)
        run = ScoreRun(
            source=source,
            fields=fields_from(options),
            limit=options["limit"],
            score_expert=options["score_expert"],
            engine=engine,
            policy=whose,
            paths=paths,
            settings={
                **whose,
                "command": "score",
                "tokenizer": engine.tokenizer.fingerprint,
                "chat_template": engine.tokenizer.template,
                "input": source.fingerprint,
                "fields": asdict(fields_from(options)),
                "limit": options["limit"],
                "score_expert": options["score_expert"],
            },
            quiet=options["quiet"],
        )
        summary = run.execute()
    except KeyboardInterrupt:
        print(f"\nStopped; nothing is lost. Run the same command again to continue {paths.output}", file=sys.stderr)
        sys.exit(130)
    finally:
        engine.close()
    print(f"{paths.output}: {summary['scored']} rows scored, {summary['tokens']:,} tokens, {summary['seconds']:.1f} s")
    if summary["failed"]:
        print(f"{summary['failed']} rows failed, with reasons: {paths.failed}")
