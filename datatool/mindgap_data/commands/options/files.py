"""Files that a command reads and writes: paths, addresses, and `-` for standard input and output."""

from pathlib import Path
from typing import Any

import click

from mindgap_data.errors import UserError
from mindgap_data.rows.elsewhere import STANDARD, RemoteOutput, StandardOutput, is_elsewhere, local_input, rows_only
from mindgap_data.rows.remote import is_url

_ENDINGS = (".gz", ".jsonl", ".ndjson", ".json", ".parquet")


class _InputFile(click.ParamType):
    """A file to read; one that is elsewhere is copied here first."""

    name = "FILE"

    def convert(self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return value if isinstance(value, Path) else local_input(value)


class _LocalPath(click.Path):
    """A path that must be on this machine."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and is_elsewhere(value):
            self.fail(f"{value}: must be a path on this machine", param, ctx)
        return super().convert(value, param, ctx)


INPUT_FILE = _InputFile()
LOCAL_FILE = _LocalPath(path_type=Path, dir_okay=False)
LOCAL_FOLDER = _LocalPath(path_type=Path, file_okay=False)


def output_path(name: str, source: str) -> Path:
    """The path that -o names, for a command that reads ``source``.

    With `-` the file is written in the working folder under the name of the input, until it is whole; from here to
    the end of the command, standard output is for rows alone. A remote file is written below .mindgap/ in the working
    folder, and sent when it is whole.

    Raises:
        UserError: it is a folder.
    """
    if name == STANDARD:
        stream = click.get_current_context().with_resource(rows_only())
        return StandardOutput.to(stream, Path(f"{input_stem(source)}.stdout.jsonl"))
    if is_url(name):
        return RemoteOutput.to(name)
    if Path(name).is_dir():
        raise UserError(f"{name}: is a folder; name a file with -o")
    return Path(name)


def output_folder(name: str) -> Path:
    """The folder that -o names, for a command that writes several files.

    Raises:
        UserError: it is standard output, or a file.
    """
    if name == STANDARD or Path(name).is_file():
        raise UserError(f"{name}: is no folder; this command writes several files")
    return RemoteOutput.to(name) if is_url(name) else Path(name)


def default_output(source: str, kind: str) -> Path:
    """The output of a command without -o: INPUT.kind.jsonl beside the input, or in the working folder."""
    here = Path(source).exists()
    return (Path(source).parent if here else Path()) / f"{input_stem(source)}.{kind}.jsonl"


def input_stem(source: str) -> str:
    """The name of an input without folder and ending."""
    name = "stdin" if source == STANDARD else Path(source).name.replace(":", "-")
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name
