"""The command line: one module a command, imported only when that command runs."""

from importlib import import_module

import click

from mindgap_data import __version__

# Section -> command -> its line in the overview. The module `commands.<name>` holds `command`.
SECTIONS: dict[str, dict[str, str]] = {
    "Make training data": {
        "rewrite": "Rewrite demonstrations onto the model's own policy: tiers and behaviour log-probs.",
        "retry": "Draw the failed rows of a finished run again.",
        "score": "Add or refresh policy log-probs of a rewritten or a plain SFT file.",
        "merge": "Put the shards of a run together again.",
        "rounds": "Rewrite, train and evaluate for several rounds, from one plan.",
        "refresh": "Draw the rows of a training run again while it trains.",
        "select": "Cut training files for the ablation grid from one rewritten file.",
        "export": "Write a rewritten file in the format of TRL, LLaMA-Factory, ms-swift, verl or OpenAI.",
        "push": "Put a rewritten file on the Hugging Face hub, with a dataset card.",
    },
    "See what it did": {
        "gap": "Measure the policy gap before and after rewriting.",
        "report": "Write the gap as one self-contained HTML page.",
        "audit": "Check a rewritten file for leaks, copies, degenerate text; rank rows to read.",
        "noise": "Measure the floor that rounding sets to importance weights.",
        "evaluate": "Accuracy, pass@k and majority vote of a model on benchmarks; compare two runs.",
        "forget": "What fine-tuning cost: general text, instructions, untouched tasks, KL to the base.",
    },
    "Check files": {
        "validate": "Check a file against the record's schema and alignment rules.",
        "verify": "Run a verifier over any file of responses.",
        "probe": "Show what an OpenAI-compatible server can and cannot give.",
    },
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called, so --help stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Command names in the order of the overview."""
        return [name for commands in SECTIONS.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(f"mindgap_data.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The overview, by section, without importing any command."""
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl(list(commands.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="mindgap-data")
def main() -> None:
    """Rewrite expert demonstrations onto the model's own policy (arXiv 2509.15157), and measure the gap.

    Start with:  mindgap-data rewrite in.jsonl
    """
