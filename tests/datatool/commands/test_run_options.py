"""How many rows may fail, and what is said and returned when more do."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mindgap_data.commands.options.run import Allowance, max_failed_option


@click.command()
@click.argument("failed", type=int)
@click.argument("rows", type=int)
@max_failed_option
def command(failed: int, rows: int, max_failed: Allowance) -> None:
    max_failed.check(failed, rows, Path("out.failed.jsonl"))
    click.echo("fine")


@pytest.mark.parametrize(
    ("failed", "rows", "options", "code"),
    [
        (5, 10, [], 0),
        (6, 10, [], 3),
        (1, 10, ["--max-failed", "0"], 3),
        (0, 10, ["--max-failed", "0"], 0),
        (3, 4, ["--max-failed", "3"], 0),
        (1, 100, ["--max-failed", "0.5%"], 3),
        (10, 10, ["--max-failed", "100%"], 0),
    ],
)
def test_the_exit_code_says_whether_too_many_failed(failed: int, rows: int, options: list[str], code: int) -> None:
    assert CliRunner().invoke(command, [str(failed), str(rows), *options]).exit_code == code


def test_the_message_says_where_everything_is() -> None:
    result = CliRunner().invoke(command, ["6", "10"])
    assert result.output == (
        "Error: 6 of 10 rows failed, more than --max-failed 50% allows; "
        "the output is in place, and the reasons are in out.failed.jsonl\n"
    )


@pytest.mark.parametrize("value", ["half", "120%", "-1", "0.5", "5%5", "nan%"])
def test_what_is_neither_a_share_nor_a_number_is_refused(value: str) -> None:
    result = CliRunner().invoke(command, ["0", "1", f"--max-failed={value}"])
    assert result.exit_code == 2
    assert f"{value!r}: give a share such as 50%, or a number of rows such as 10" in result.output
