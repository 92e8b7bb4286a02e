"""Files that a command reads and writes: paths, and `-` for standard input and output."""

from pathlib import Path

import click

from mindgap_data.errors import UserError
from mindgap_data.rows.elsewhere import STANDARD, StandardOutput, is_elsewhere, local_input, rows_only

_ENDINGS = (".gz", ".jsonl", ".ndjson", ".json", ".parquet")


class _InputFile(click.ParamType):
    """A file to read; one that is elsewhere is copied here first."""

    name = "FILE"

    def convert(self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return value if isinstance(value, Path) else local_input(value)


INPUT_FILE = _InputFile()


def output_path(name: str, source: str) -> Path:
    """The path that -o names, for a command that reads ``source``.

    With `-` the file is written in the working folder under the name of the input, until it is whole; from here to
    the end of the command, standard output is for rows alone.

    Raises:
        UserError: it is a folder.
    """
    if name == STANDARD:
        stream = click.get_current_context().with_resource(rows_only())
        return StandardOutput.to(stream, Path(f"{input_stem(source)}.stdout.jsonl"))
    if Path(name).is_dir():
        raise UserError(f"{name}: is a folder; name a file with -o")
    return Path(name)


def default_output(source: str, kind: str) -> Path:
    """The output of a command without -o: INPUT.kind.jsonl beside the input, or in the working folder."""
    here = not is_elsewhere(source) and Path(source).exists()
    return (Path(source).parent if here else Path()) / f"{input_stem(source)}.{kind}.jsonl"


def input_stem(source: str) -> str:
    """The name of an input without folder and ending."""
    name = "stdin" if source == STANDARD else Path(source).name.replace(":", "-")
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name
