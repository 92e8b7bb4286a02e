"""Puts a rewritten file and its card on the Hugging Face hub, as one commit of a dataset repository."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mindgap_data.errors import UserError, one_line

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, RepoFile
    from huggingface_hub.hf_api import RepoFolder

CARD = "README.md"


def data_name(path: Path) -> str:
    """What a file is called on the hub: `train` and its own ending."""
    gzipped = ".gz" if path.suffix == ".gz" else ""
    return f"train{'.parquet' if path.suffix == '.parquet' else '.jsonl'}{gzipped}"


def check_repository(repository: str) -> None:
    """Raise UserError where ``repository`` cannot be a name of the hub, or the hub's client is not installed."""
    if find_spec("huggingface_hub") is None:
        raise UserError("the Hugging Face hub needs huggingface_hub: pip install 'mindgap[hub]'")
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repository)
    except HFValidationError:
        raise UserError(
            f"--to {one_line(repository, 60)}: is not a name of the Hugging Face hub; give it as USER/NAME"
        ) from None


def push_file(path: Path, card: str, repository: str, *, private: bool, overwrite: bool) -> str:
    """Commit the file, byte for byte, and its card; returns the address of the repository.

    The repository is made where there is none. A push that broke off leaves it without the commit, or with the whole
    of it, so the same call can be made again.

    Args:
        path: the file.
        card: text of the card.
        repository: its name, or user/name.
        private: whether a new repository is private; one that exists stays as it is.
        overwrite: replace other contents of the file or the card.

    Raises:
        UserError: no token, no right to write, other contents are there, or the hub cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    if get_token() is None:
        raise UserError("no token of the Hugging Face hub; log in with `hf auth login`, or set HF_TOKEN")
    files = {
        data_name(path): CommitOperationAdd(data_name(path), path),
        CARD: CommitOperationAdd(CARD, card.encode()),
    }
    api = HfApi()
    with _hub_errors(repository):
        address = api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        there = api.get_paths_info(address.repo_id, list(files), repo_type="dataset")
        same = {file.path: _same(file, files[file.path]) for file in there}
        other = sorted(name for name in same if not same[name])
        if other and not overwrite:
            raise UserError(
                f"{address.repo_id}: has another {' and another '.join(other)}; choose another --to, or replace "
                f"{'it' if len(other) == 1 else 'them'} with --overwrite"
            )
        new = [operation for name, operation in files.items() if not same.get(name)]
        if new:
            api.create_commit(address.repo_id, new, commit_message="Rewritten with mindgap", repo_type="dataset")
    return str(address)


def _same(there: "RepoFile | RepoFolder", own: "CommitOperationAdd") -> bool:
    """Whether a file of the hub has the contents of our own: by its sha256, small ones by their git hash."""
    from huggingface_hub import RepoFile
    from huggingface_hub.utils.sha import git_hash

    if not isinstance(there, RepoFile) or there.size != own.upload_info.size:
        return False
    if there.lfs is not None:
        return there.lfs.sha256 == own.upload_info.sha256.hex()
    with own.as_file() as content:
        return there.blob_id == git_hash(content.read())


@contextmanager
def _hub_errors(repository: str) -> Iterator[None]:
    from httpx import HTTPError
    from huggingface_hub.errors import HfHubHTTPError

    again = "give the same command again to go on"
    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise UserError(
                f"{repository}: the token has no right to write there; choose another --to, or use a token that has"
            ) from error
        if status < 500 and status != 429:
            raise UserError(f"{repository}: the hub refuses it: {one_line(error.server_message or error)}") from error
        raise UserError(f"{repository}: the hub answers {status}; {again}") from error
    except ValueError as error:  # the client's own word for a card that the hub finds wrong
        raise UserError(f"{repository}: the hub refuses it: {one_line(error)}") from error
    except (HTTPError, OSError, RuntimeError) as error:
        raise UserError(f"{repository}: cannot be pushed: {one_line(error)}; {again}") from error
