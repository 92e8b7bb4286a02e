"""The pages keep their form, and the commands and options they and the program's messages name exist."""

import ast
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

import click
import pytest

from mindgap_data.commands import SECTIONS, main
from mindgap_data.rows.shapes import FORMATS
from mindgap_data.verify.load import BUILT_IN
from mindgap_loss.options import Preset

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [
    README,
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "recipes/README.md",
    ROOT / "plugin/mindgap_axolotl/README.md",
]
COMMANDS = {name: main.get_command(click.Context(main), name) for names in SECTIONS.values() for name in names}
SOURCES = [path for part in ("datatool", "plugin", "recipes") for path in sorted((ROOT / part).rglob("*.py"))]
SCRIPTS = [*SOURCES, *sorted((ROOT / "benchmarks").rglob("*.py")), *sorted((ROOT / "examples").glob("*.py"))]

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9]*(?:-[a-z0-9]+)*(?![\w-])")
# What mindgap says about other programs' options.
OTHERS = {
    "--array": "sbatch",
    "--launcher": "axolotl",
    "--max-steps": "axolotl",
    "--logprobs-mode": "vllm",
    "--no-enable-chunked-prefill": "vllm",
    "--data-parallel-size": "vllm",
    "--port": "vllm",
    "--no-deps": "pip",
    "--head": "ray",
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def options_of(name: str) -> set[str]:
    """The options of one command."""
    return {name for p in COMMANDS[name].params for name in (*p.opts, *p.secondary_opts)} | {"--help", "--version"}


def own_options() -> set[str]:
    """Every option of every command, and of the scripts beside them."""
    options = set().union(*map(options_of, COMMANDS))
    for script in SCRIPTS:
        options |= set(re.findall(r"(?:option|add_argument)\(\s*\"(--[a-z-]+)", script.read_text()))
    return options


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """Every string of a module that is a text (holds a space), fixed parts of f-strings included, with its line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            yield node.lineno, node.value


def test_readme_stays_short() -> None:
    assert len(README.read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_lines_are_short(page: Path) -> None:
    """Tables that `recipes.headline.run report` writes apart."""
    text = re.sub(r"<!-- [^\n]+ -->\n.*?<!-- end -->", "", page.read_text(), flags=re.DOTALL)
    assert [line for line in text.splitlines() if len(line) > 120] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_options_a_page_names_exist(page: Path) -> None:
    assert set(OPTION.findall(page.read_text())) - own_options() - set(OTHERS) == set()


def options_for(path: Path, text: str) -> set[str]:
    """The options a message may name: its command's, those of `rewrite` in an engine; and of commands it names."""
    named = [name for name in COMMANDS if re.search(rf"(mindgap-data |`){name}\b", text)]
    if path.parent.name == "commands" and path.stem in COMMANDS:
        named.append(path.stem)
    elif "engines" in path.parts:
        named.append("rewrite")
    else:
        return own_options()
    return set().union(*map(options_of, named))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_options_a_message_names_exist(path: Path) -> None:
    unknown = [
        f"{name_of(path)}:{line}: {option}"
        for line, text in messages(path)
        for option in OPTION.findall(text)
        if option not in options_for(path, text) | set(OTHERS)
    ]
    assert unknown == []


def shown_commands(text: str) -> Iterator[list[str]]:
    """The arguments of every `mindgap-data …` in ``text`` that has a line or a code span of its own."""
    text = text.replace("\\\n", " ")
    lines = [line.strip().removeprefix("$ ") for line in text.splitlines()]
    spans = re.findall(r"`(mindgap-data [^`\n]+)`", text)
    for command in [*(line for line in lines if line.startswith("mindgap-data ")), *spans]:
        command = re.split(r"\s[#|>]|\s&&|;", command)[0]
        yield shlex.split(command)[1:]


def parse_error(arguments: list[str]) -> str | None:
    """Why the command line does not parse, or None. Placeholders such as COMMAND and ... are let through."""
    name, *rest = arguments
    if name.startswith("-") or name.isupper():
        return None
    if name not in COMMANDS:
        return f"no command {name}"
    command = COMMANDS[name]
    try:
        context = click.Context(command, info_name=name)
        values, _, parameters = command.make_parser(context).parse_args([word for word in rest if word != "[OPTIONS]"])
        for parameter in parameters:
            if isinstance(parameter.type, click.Choice) and parameter.name in values:
                parameter.type_cast_value(context, values[parameter.name])
    except click.UsageError as error:
        return f"{' '.join(arguments)}: {error.format_message()}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_a_page_shows_parse(page: Path) -> None:
    assert [error for arguments in shown_commands(page.read_text()) if (error := parse_error(arguments))] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_in_help_parse(name: str) -> None:
    examples = list(shown_commands(COMMANDS[name].help or ""))
    assert examples != []
    assert [error for arguments in examples if (error := parse_error(arguments))] == []


def test_commands_a_message_names_parse() -> None:
    texts = "\n".join(text for path in SOURCES for _, text in messages(path))
    named = re.findall(r"`mindgap-data ([a-z]+)", texts)
    assert named != []
    assert set(named) - set(COMMANDS) == set()


@pytest.mark.parametrize(
    ("page", "names"),
    [("verifiers", BUILT_IN), ("input", FORMATS), ("loss", get_args(Preset))],
    ids=lambda value: str(value)[:9],
)
def test_page_lists_every_choice(page: str, names: Iterable[str]) -> None:
    rows = re.findall(r"^\|.*", (ROOT / f"docs/{page}.md").read_text(), flags=re.MULTILINE)
    assert [name for name in names if not any(f"| `{name}` |" in row for row in rows)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_a_page_names_exist(page: Path) -> None:
    targets = set(re.findall(r"^([.a-z0-9/-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"(?:`|\n)make ([.a-z0-9/-]+)", page.read_text())) - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_a_page_names_exist(page: Path) -> None:
    """Files of the repository, from its root; `test_x.py` and `benchmark.py` by their name alone."""
    text = page.read_text()
    paths = re.findall(r"\b((?:tests|benchmarks|recipes|examples|datatool|plugin|docs)/[\w./-]*\w)", text)
    names = re.findall(r"`(?:python )?(\w+\.py)\b", text)
    parts = ("tests", "benchmarks", "datatool", "plugin")
    known = {path.name for part in parts for path in (ROOT / part).rglob("*.py")} | {"palindromes.py"}
    assert [path for path in paths if not (ROOT / path).exists()] + sorted(set(names) - known) == []
