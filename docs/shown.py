"""What the documentation shows of the program: outputs, the command reference, the record.

Called by cog from the pages: `make docs-update` writes them afresh, `make docs-check` fails where they have drifted.
"""

import ast
import inspect
import json
import os
import shlex
import shutil
import tempfile
import textwrap
import types
from collections.abc import Collection, Iterator
from contextlib import chdir, contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import click
from click.testing import CliRunner
from pydantic import BaseModel

from mindgap_data.commands import SECTIONS, main

ROOT = Path(__file__).parents[1]
SAMPLES = Path(__file__).parent / "samples"
WIDTH = 110  # of the reference's lines
TERMINAL = {"TTY_COMPATIBLE": "1", "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "80"}


def output(command: str, first: int | None = None) -> str:
    """A console block of ``command`` and what it prints, or its ``first`` lines.

    It runs in an empty folder that holds the demo's output as `out.jsonl`, `recipes` and other samples.
    """
    program, *arguments = shlex.split(command.replace("\\\n", " "))
    assert program == "mindgap-data", command
    with _reader_folder():
        result = CliRunner(env=TERMINAL).invoke(main, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    lines = result.output.strip("\n").split("\n")
    if first is not None and len(lines) > first:
        lines = [*lines[:first], "…"]
    return _console(command, "\n".join(lines))


def _console(command: str, text: str) -> str:
    lines = [line.rstrip() for line in text.rstrip().split("\n")]
    lines = [line if len(line) <= WIDTH else _filled(line) for line in lines]
    return "\n".join(["", "```console", f"$ {command}", *lines, "```", ""])


@contextmanager
def _reader_folder() -> Iterator[None]:
    """The working directory of a reader who has just run the demo."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(SAMPLES / "rewritten.jsonl", Path(folder) / "out.jsonl")
        for path in (
            ROOT / "recipes",
            SAMPLES / "responses.jsonl",
            SAMPLES / "calls.jsonl",
            SAMPLES / "t10",
            SAMPLES / "t05",
        ):
            os.symlink(path, Path(folder) / path.name)
        with chdir(folder):
            yield


DEMO = r"""mindgap-data rewrite recipes/data/word_problems.jsonl -o out.jsonl \
    --temperature 0.7 --max-tokens 96 --batch-size 42"""


def rewriting() -> str:
    """A console block of the demo: what it printed when the samples were made, since it takes minutes."""
    return _console(DEMO, (SAMPLES / "rewrite.txt").read_text())


EVALUATION = r"""mindgap-data evaluate recipes/data/word_problems.jsonl --limit 16 \
    --samples 4 --max-tokens 48 -o t10"""


def evaluation() -> str:
    """A console block of an evaluation of the built-in model, captured likewise."""
    return _console(EVALUATION, (SAMPLES / "evaluate.txt").read_text())


def dry_run() -> str:
    """A console block of the demo's dry run, captured likewise."""
    return _console(DEMO + " --dry-run", (SAMPLES / "dry-run.txt").read_text())


def sample(file: str) -> str:
    """A small sample file, as it is."""
    return "\n".join(["", "```json", (SAMPLES / file).read_text().rstrip(), "```", ""])


def record(name: str, values: int = 3, without: Collection[str] = ()) -> str:
    """The record called ``name`` of the demo's output, indented, its long lists cut after some ``values``."""
    rows = (json.loads(line) for line in (SAMPLES / "rewritten.jsonl").read_text().splitlines())
    row = next(row for row in rows if row["id"] == name)
    lines = []
    for field, value in row.items():
        if field in without:
            continue
        if isinstance(value, list) and not isinstance(value[0], dict):
            parts = ["[" + ", ".join(json.dumps(item) for item in value[:values]) + ", …]"]
        elif isinstance(value, list):
            parts = ["[" + json.dumps(value[0], ensure_ascii=False), *(json.dumps(item) for item in value[1:])]
            parts[-1] += "]"
        else:
            parts = [json.dumps(value, ensure_ascii=False)]
        text = f'"{field}": ' + ",\n  ".join(parts) + ","
        lines += [_filled(line, indent=" ", hanging="    ") for line in text.split("\n")]
    return "\n".join(["", "```js", "{" + lines[0][1:], *lines[1:-1], lines[-1].rstrip(",") + "}", "```", ""])


def _filled(text: str, indent: str = "", hanging: str = "") -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=hanging,
        drop_whitespace=True,
        break_long_words=False,
        break_on_hyphens=False,
    )


# --- the command reference ---


def commands() -> str:
    """Every command: what it does, an example, its options; then the options that several commands share."""
    found = {name: _command(name) for names in SECTIONS.values() for name in names}
    shared = _shared(found)
    parts = []
    for section, names in SECTIONS.items():
        parts.append(f"## {section}")
        parts += [_command_text(name, found[name], shared) for name in names]
    parts.append("## Options several commands share")
    for title, options in shared.items():
        users = ", ".join(f"`{name}`" for name, command in found.items() if title in _titles(command))
        parts.append(f"### {title}\n\nOf {users}.\n\n" + "\n".join(options.values()))
    return "\n" + "\n\n".join(parts) + "\n"


def _command(name: str) -> click.Command:
    command = main.get_command(click.Context(main), name)
    assert command is not None, name
    return command


def _title(parameter: click.Parameter) -> str:
    """The heading of a shared option; empty for a command's own."""
    section: str = getattr(parameter, "section", "")
    return "" if section == "Options" else section


def _titles(command: click.Command) -> set[str]:
    return {_title(parameter) for parameter in command.params} - {""}


def _options(command: click.Command) -> list[click.Option]:
    return [p for p in command.params if isinstance(p, click.Option) and not p.hidden]


def _shared(found: dict[str, click.Command]) -> dict[str, dict[str, str]]:
    """Section -> option -> its text, as the first command that has it says."""
    shared: dict[str, dict[str, str]] = {}
    for command in found.values():
        for option in _options(command):
            if _title(option):
                shared.setdefault(_title(option), {}).setdefault(option.opts[0], _option_text(option))
    return shared


def _command_text(name: str, command: click.Command, shared: dict[str, dict[str, str]]) -> str:
    own = [
        _option_text(option)
        for option in _options(command)
        if not _title(option) or shared[_title(option)][option.opts[0]] != _option_text(option)
    ]
    context = click.Context(command)
    arguments = [p.make_metavar(context) for p in command.params if isinstance(p, click.Argument)]
    parts = [f"### mindgap-data {name}", f"```sh\nmindgap-data {name} [OPTIONS] {' '.join(arguments)}\n```"]
    parts.append(_prose(command.help or ""))
    if own:
        parts.append("\n".join(own))
    if titles := [title for title in shared if title in _titles(command)]:
        links = ", ".join(f"[{title}](#{title.lower().replace(' ', '-')})" for title in titles)
        parts.append(_filled(f"Further options: {links}."))
    return "\n\n".join(parts)


def _prose(text: str) -> str:
    """Help text as Markdown: paragraphs filled, what stands under a \\b mark kept as it is."""
    parts = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if not paragraph.startswith("\b"):
            parts.append(_filled(_escaped(paragraph)))
            continue
        title, *lines = paragraph.lstrip("\b\n").split("\n")
        body = textwrap.dedent("\n".join(lines))
        parts.append(f"{_escaped(title)}\n\n```sh\n{body}\n```" if lines else _escaped(title))
    return "\n\n".join(parts)


def _option_text(option: click.Option) -> str:
    """One option as an item of a list."""
    record = option.get_help_record(click.Context(click.Command("reference"), max_content_width=10_000))
    assert record is not None
    names, text = record[0].replace(" RANGE", ""), record[1].replace("  ", " ")
    if isinstance(option.type, click.Choice) and len(names) > WIDTH:
        names = f"{option.opts[0]} NAME"
        text = f"{text} NAME is one of {', '.join(f'`{choice}`' for choice in option.type.choices)}."
    return _filled(f"- `{names}`: {_escaped(text)}", hanging="  ")


def _escaped(text: str) -> str:
    """Plain text whose markup characters Markdown must leave alone, code spans apart."""
    pieces = text.split("`")
    return "`".join(
        piece if index % 2 else piece.replace("\\", "\\\\").replace("*", "\\*").replace("<", "&lt;")
        for index, piece in enumerate(pieces)
    )


# --- the record reference ---


def fields(model: str, own: bool = False) -> str:
    """The fields of a pydantic model, named `module:Model`, as a list: name, type, default, meaning.

    ``own``: without those it inherits.
    """
    module, _, name = model.partition(":")
    items = []
    found = getattr(_module(module), name)
    for field_name, field in found.model_fields.items():
        if own and field_name not in found.__annotations__:
            continue
        default = "" if field.is_required() else _default(field.get_default(call_default_factory=True))
        text = f"- `{field.alias or field_name}` ({_type(field.annotation)}{default}): "
        items.append(_filled(text + _escaped(field.description or ""), hanging="  "))
    return "\n" + "\n".join(items) + "\n"


def _module(name: str) -> types.ModuleType:
    """The module, without its package's `__init__`: that of the plugin imports Axolotl, which takes long."""
    path = next(
        path for part in ("datatool", "plugin") if (path := ROOT / part / f"{name.replace('.', '/')}.py").exists()
    )
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def refused() -> str:
    """The options of an Axolotl recipe that the plugin refuses, with its reasons, read without importing Axolotl."""
    tree = ast.parse((ROOT / "plugin/mindgap_axolotl/checks.py").read_text())
    tables: dict[str, dict[str, str]] = {
        target.id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    reasons = tables["REFUSED"] | tables["SPLITTING"]
    items = [_filled(f"- `{name}`: {_escaped(reason)}", hanging="  ") for name, reason in reasons.items()]
    return "\n" + "\n".join(items) + "\n"


def _default(value: Any) -> str:
    if value is None:
        return ", optional"
    return "" if isinstance(value, BaseModel) else f"; default `{json.dumps(value)}`"


def _type(annotation: Any) -> str:
    """A type as a reader of JSON says it."""
    names = {str: "text", Path: "path", int: "integer", float: "number", bool: "true or false", type(None): "null"}
    if annotation in names:
        return names[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(argument) for argument in arguments)
    if origin is Literal:
        return " or ".join(f"`{json.dumps(argument)}`" for argument in arguments)
    if origin is dict:
        return f"{_type(arguments[1])} for each {_type(arguments[0])}" if arguments[1] in names else "object"
    if origin is list:
        return f"list of {_type(arguments[0])}s"
    return "object"
