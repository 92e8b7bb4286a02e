"""The tokenizer that made a file's ids, where it can be had, to cut the texts into tokens."""

from pathlib import Path

from mindgap_data.errors import UserError, one_line
from mindgap_data.gap.records import ScoringPolicy, read_gap_records
from mindgap_data.report.pieces import TokenPieces

WITHOUT = "token log-weights are shown as a strip"


def open_pieces(path: Path, name: str) -> tuple[TokenPieces | None, str | None]:
    """The token cutter for a file, or None and a note why there is none.

    Args:
        path: a rewritten file.
        name: a tokenizer's hub name or folder; "auto" for the file's model, taken from this machine only; "none".

    Raises:
        UserError: a tokenizer asked for by name cannot be had or is not the one that made the ids.
    """
    if name == "none":
        return None, None
    _, record = next(iter(read_gap_records(path)))
    policy = ScoringPolicy.of(record)
    if name != "auto":
        return _load(name, policy), None
    try:
        return _load(policy.model, policy, local_files_only=True), None
    except UserError as error:
        return None, f"{error.message}; {WITHOUT}"


def _load(name: str, policy: ScoringPolicy, local_files_only: bool = False) -> TokenPieces:
    from mindgap_data.fingerprints import tokenizer_fingerprint
    from mindgap_data.policy.models import resolve_model_path

    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise UserError(
            "colouring texts token by token needs transformers; run: pip install 'mindgap[transformers]', "
            "or pass --tokenizer none"
        ) from error
    try:
        # The name may come from the data: nothing of what it points to is run.
        tokenizer = AutoTokenizer.from_pretrained(
            resolve_model_path(name), local_files_only=local_files_only, trust_remote_code=False
        )
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise UserError(f"tokenizer {name!r} cannot be loaded: {one_line(error)}") from error
    found = tokenizer_fingerprint(tokenizer)
    if found != policy.tokenizer:
        raise UserError(f"tokenizer {name!r} is {found}, the file's ids are of {policy.tokenizer}")
    return TokenPieces(tokenizer)
