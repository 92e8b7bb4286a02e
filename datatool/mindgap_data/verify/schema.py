"""JSON against a schema, or against the reference value."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mindgap_data.errors import UserError
from mindgap_data.verify import Verdict
from mindgap_data.verify.answers import strip_thinking
from mindgap_data.verify.strict_json import MAX_JSON, loads, same

_FENCE = re.compile(r"```(?:json|JSON)?[ \t]*\n(.*?)\n[ \t]*```", re.DOTALL)


@dataclass(frozen=True)
class JsonVerifier:
    """The response's JSON satisfies a JSON Schema; without a schema it equals the reference, read as JSON.

    The JSON is the last fenced block, or else the whole response after its thinking block. The schema is
    the row's field ``schema`` (an object, or its text), or the option. Schemas are never fetched: a
    ``$ref`` beyond the schema itself is a checker error.

    Attributes:
        schema: an object, or the path of a file that holds one, for rows that bring none.
    """

    schema: Any = None
    kind: ClassVar[str] = "checked"
    needs_answer: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if isinstance(self.schema, str):
            object.__setattr__(self, "schema", _read_schema(Path(self.schema)))
        if self.schema is not None and not _is_schema(self.schema):
            raise UserError("verifier 'json': option schema: this is not a JSON Schema")

    def __call__(self, response: str, answer: str, row: Mapping[str, Any]) -> Verdict:
        """Verdict; a response without any JSON gives no answer, JSON that does not parse is wrong."""
        body = strip_thinking(response)
        if body is None or not body.strip():
            return Verdict.NO_ANSWER
        fences = _FENCE.findall(body[-MAX_JSON:])
        text = (fences[-1] if fences else body).strip()
        if not fences and text[:1] not in '{["-0123456789tfn':
            return Verdict.NO_ANSWER
        schema = row.get("schema", self.schema)
        try:
            gold = loads(schema) if isinstance(schema, str) else schema if schema is not None else loads(answer)
        except (ValueError, RecursionError):
            return Verdict.CHECKER_ERROR
        try:
            value = loads(text)
        except (ValueError, RecursionError):
            return Verdict.WRONG
        if schema is None:
            return Verdict.CORRECT if same(gold, value) else Verdict.WRONG
        return _against(gold, value)


def _against(schema: Any, value: Any) -> Verdict:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    if not _is_schema(schema):
        return Verdict.CHECKER_ERROR
    # An empty registry: without one, jsonschema would fetch what a "$ref" points to.
    validator = validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())
    try:
        return Verdict.CORRECT if validator.is_valid(value) else Verdict.WRONG
    except (Unresolvable, re.error, RecursionError):
        return Verdict.CHECKER_ERROR


def _is_schema(schema: Any) -> bool:
    from jsonschema import Draft202012Validator, SchemaError
    from jsonschema.validators import validator_for

    if not isinstance(schema, dict | bool):
        return False
    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)  # type: ignore[arg-type]
    except (SchemaError, RecursionError):
        return False
    return True


def _read_schema(path: Path) -> Any:
    try:
        return loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"verifier 'json': option schema: {path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"verifier 'json': option schema: {path}: not JSON: {error}") from error
