"""Every command has help with an example, answers fast, and has its place in the reference."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mindgap_data.commands import SECTIONS, main

COMMANDS = [name for commands in SECTIONS.values() for name in commands]
REFERENCE = (Path(__file__).parents[3] / "docs/cli.md").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_has_help_and_an_example(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"mindgap-data {name}" in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_is_in_the_reference(name: str) -> None:
    assert f"\n### mindgap-data {name}\n" in REFERENCE


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented(name: str) -> None:
    command = main.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert [p.name for p in command.params if isinstance(p, click.Option) and not p.help] == []


def test_overview_lists_every_command_by_section() -> None:
    output = CliRunner().invoke(main, ["--help"]).output
    assert [section for section in SECTIONS if f"{section}:" in output] == list(SECTIONS)
    assert [name for name in COMMANDS if f"\n  {name} " in output] == COMMANDS
