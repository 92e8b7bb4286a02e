"""A YAML mapping that a user wrote, and the lines its top-level fields stand on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mindgap_data.errors import UserError, one_line


class YamlFile:
    """A recipe or a plan as it was read, with errors that say where a field stands."""

    def __init__(self, path: Path, what: str) -> None:
        """Read it.

        Args:
            path: the file.
            what: its name in messages, such as "recipe".

        Raises:
            UserError: it is not there, not YAML, or no mapping; names file:line.
        """
        self.path = path
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path}: the {what} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: the {what} is not UTF-8 at byte {error.start}") from error
        try:
            node, values = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise UserError(f"{path}:{line}: the {what} is not YAML: {error.problem or error.context}") from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise UserError(f"{path}: the {what} is not YAML: {one_line(error)}") from error
        if not isinstance(values, dict) or not isinstance(node, yaml.MappingNode):
            raise UserError(f"{path}: the {what} is not a YAML mapping of fields")
        self.values: Mapping[str, Any] = values
        self._lines = {key.value: key.start_mark.line + 1 for key, _ in node.value}

    def error(self, field: str, problem: str) -> UserError:
        """What is wrong with a field (one within another: ``outer.inner``), and where its outermost stands."""
        return UserError(f"{self.path}:{self._lines.get(field.split('.')[0], 1)}: {field}: {problem}")

    def text(self, field: str) -> str | None:
        """A field that holds text; None when it is absent or empty."""
        value = self.values.get(field)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise self.error(field, f"must be text, not {one_line(repr(value), 40)}")
        return value

    def flag(self, field: str) -> bool:
        """A field that holds true or false; false when it is absent."""
        value = self.values.get(field)
        if value is not None and not isinstance(value, bool):
            raise self.error(field, f"must be true or false, not {one_line(repr(value), 40)}")
        return bool(value)
