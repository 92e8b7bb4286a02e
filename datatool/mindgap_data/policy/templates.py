"""Chat templates by name or from a file, as --chat-template, --prompt-template and recipes give them."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from mindgap_data.errors import UserError, one_line
from mindgap_data.rendering import shows_one_problem

# Package -> folder of its templates, and what it puts before a name. Importing these packages takes seconds.
_FOLDERS = {
    "axolotl": ("utils/chat_templates/templates", ""),
    "vllm": ("transformers_utils/chat_templates", "template_"),
}


def installed_template(name: str, packages: tuple[str, ...] = tuple(_FOLDERS)) -> str | None:
    """Text of a well-known template that an installed package brings, or None."""
    if not re.fullmatch(r"\w+", name):
        return None
    for folder, prefix in _folders(packages):
        file = folder / f"{prefix}{name}.jinja"
        if file.is_file():
            return file.read_text(encoding="utf-8")
    return None


def installed_names() -> list[str]:
    """Names of all of them."""
    found = {
        file.stem.removeprefix(prefix)
        for folder, prefix in _folders(tuple(_FOLDERS))
        for file in folder.glob("*.jinja")
    }
    return sorted(found)


def read_chat_template(given: str) -> str:
    """The template that ``--chat-template`` names: a file, or a name.

    Raises:
        UserError: it is neither, or the file cannot be read.
    """
    path = Path(given)
    if not path.exists() and (template := installed_template(given)) is not None:
        return template
    if not path.exists() and re.fullmatch(r"\w+", given):
        known = ", ".join(installed_names()) or "none, since neither axolotl nor vllm is installed"
        raise UserError(f"--chat-template {given}: no such file, and no template has this name; known names: {known}")
    return _text(path, "the chat template")


def read_prompt_template(given: str) -> str:
    """The template that ``--prompt-template`` gives, a file or its text: it shows ``problem``, perhaps ``system``.

    Raises:
        UserError: it cannot be read, or does not show the problem.
    """
    template = given if "{" in given or "\n" in given else _text(Path(given), "the prompt template")
    if not shows_one_problem(template):
        raise UserError(
            f"--prompt-template {one_line(given, 40)}: it must show {{{{ problem }}}}, and no messages; for a template "
            "of whole conversations use --chat-template"
        )
    return template


def _text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {what} cannot be read: {error}") from error


def _folders(packages: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    for package in packages:
        spec = find_spec(package)
        folder, prefix = _FOLDERS[package]
        for location in (spec.submodule_search_locations or []) if spec else []:
            yield Path(location) / folder, prefix
