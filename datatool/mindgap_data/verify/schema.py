"""JSON against a schema, or against the reference value."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mindgap_data.errors import UserError
from mindgap_data.verify import Verdict
from mindgap_data.verify.answers import strip_thinking

MAX_JSON = 1_000_000

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
            gold = _loads(schema) if isinstance(schema, str) else schema if schema is not None else _loads(answer)
        except (ValueError, RecursionError):
            return Verdict.CHECKER_ERROR
        try:
            value = _loads(text)
        except (ValueError, RecursionError):
            return Verdict.WRONG
        if schema is None:
            return Verdict.CORRECT if _same_json(gold, value) else Verdict.WRONG
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
        return _loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"verifier 'json': option schema: {path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"verifier 'json': option schema: {path}: not JSON: {error}") from error


def _loads(text: str) -> Any:
    """Strict JSON: no NaN, no key twice, at most ``MAX_JSON`` characters."""
    if len(text) > MAX_JSON:
        raise ValueError(f"longer than {MAX_JSON} characters")
    return json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _same_json(gold: Any, value: Any) -> bool:
    """Equality in which true is not 1, and 1 is 1.0."""
    return gold == value and json.dumps(_typed(gold), sort_keys=True) == json.dumps(_typed(value), sort_keys=True)


def _typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else value
