"""Fingerprints of what a record depends on: the tokenizer, the chat template, the content of a row."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """Fingerprint of a Hugging Face tokenizer's vocabulary: 'sha256:' and 16 hex digits.

    Covers every (token, id) pair of the base vocabulary and the added tokens that carry text in a
    chat (all of them); padding set up by a trainer does not change it as long as no token is added.
    """
    digest = hashlib.sha256()
    for token, index in sorted(tokenizer.get_vocab().items(), key=lambda item: (item[1], item[0])):
        digest.update(f"{index}\t{token}\n".encode("utf-8", "surrogatepass"))
    return f"sha256:{digest.hexdigest()[:16]}"


def template_fingerprint(template: str, arguments: Mapping[str, Any] | None = None) -> str:
    """Fingerprint of what renders a prompt: 'sha256:' and 16 hex digits.

    Args:
        template: Jinja text; its last newline does not count, since Jinja drops it.
        arguments: of the template; none, an empty mapping and null values make no difference.
    """
    digest = hashlib.sha256(template.removesuffix("\n").encode("utf-8", "surrogatepass"))
    if given := {name: value for name, value in (arguments or {}).items() if value is not None}:
        digest.update(b"\0" + json.dumps(given, sort_keys=True).encode())
    return f"sha256:{digest.hexdigest()[:16]}"


def content_id(prompt: Any, reference: str) -> str:
    """Identifier of a row that brings none: a hash of prompt + reference, the same in any order of rows."""
    canonical = json.dumps([prompt, reference], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:24]
