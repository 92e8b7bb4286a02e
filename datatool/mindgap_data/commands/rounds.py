"""`mindgap-data rounds`: rewrite, train, evaluate, over and over, from one plan."""

from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console

from mindgap_data.commands.evaluate import command as evaluate
from mindgap_data.commands.rewrite import command as rewrite
from mindgap_data.errors import UserError, one_line
from mindgap_data.rounds.plan import Value, read_plan
from mindgap_data.rounds.steps import Rounds
from mindgap_data.rounds.table import RoundRow, as_json, round_row, rounds_table, untrained_row
from mindgap_data.rows.writing import AtomicWriter
from mindgap_data.run.job import stoppable

# Options of the two commands that the plan has fields for, or the rounds decide.
_OWN = {"output", "recipe", "model", "revision", "adapter", "overwrite", "restart", "seed", "help"} | {
    "previous", "keep-within", "round", "dry-run", "shard", "compare", "json",
}  # fmt: skip


@click.command("rounds")
@click.argument("plan", type=click.Path(path_type=Path))
def command(plan: Path) -> None:
    """Alternate rewrite, train and evaluate for the rounds of PLAN, a YAML file, and end in one table.

    Each round rewrites the input with the policy that the round before has trained, keeps what it still finds
    likely, and trains on. A run that was stopped continues when the same command is given again.

    \b
    Example:
      mindgap-data rounds plan.yaml
    """
    checked = read_plan(plan)
    words = {
        name: _words(plan, name, options, known)
        for name, options, known in (
            ("rewrite", checked.plan.rewrite, rewrite),
            ("evaluate", checked.plan.evaluate, evaluate),
        )
    }
    rounds = Rounds(checked, words["rewrite"], words["evaluate"], lambda line: click.echo(line, err=True))
    rows: list[RoundRow] = []
    with stoppable(checked.plan.output), rounds.locked():
        for folder in rounds.run():
            rows.append(untrained_row(rounds.untrained) if folder is None else round_row(folder, rounds.untrained))
            with AtomicWriter(checked.plan.output / "rounds.json") as file:
                file.write_text(as_json(rows))
                file.finish()
    console = Console(highlight=False)
    console.print(rounds_table(rows))
    if any(row.real for row in rows):
        console.print("* differs from the untrained policy, round 0 (p < 0.05, paired by problem)", soft_wrap=True)


def _words(plan: Path, name: str, options: Mapping[str, Value], known: click.Command) -> list[str]:
    """Options of a command as the words of its command line, checked as the command itself would.

    Raises:
        UserError: one is unknown, is the plan's to set, or has a wrong value.
    """
    flags = {flag: option for option in known.params if isinstance(option, click.Option) for flag in option.opts}
    words: list[str] = []
    for key, value in options.items():
        flag, where = f"--{key.replace('_', '-')}", f"{plan}: {name}.{key}"
        if flag not in flags:
            raise UserError(f"{where}: `mindgap-data {name}` has no option {flag}")
        if flag.removeprefix("--") in _OWN:
            raise UserError(f"{where}: the rounds set {flag} themselves; remove it")
        if flag == "--base-url" or (flag, value) == ("--engine", "openai"):
            raise UserError(f"{where}: a server does not follow the policy as it is trained; use transformers or vllm")
        words += _option_words(flags[flag], flag, value)
    try:
        known.make_context(name, ["INPUT", *words], resilient_parsing=False)
    except click.UsageError as error:
        raise UserError(f"{plan}: {name}: {one_line(error.format_message())}") from error
    return words


def _option_words(option: click.Option, flag: str, value: Value) -> list[str]:
    if isinstance(value, list):
        return [word for one in value for word in (flag, str(one))]
    if isinstance(value, bool) and option.is_flag:
        off = [name for name in option.secondary_opts if name.startswith("--")][:1]
        return [flag] if value else off
    return [flag, str(value)]
