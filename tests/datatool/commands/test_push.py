"""A rewritten file and its card on a stand-in of the hub that real clients talk to: writable_hub."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import writable_hub
from good_record import record
from mindgap_data.commands import main
from writable_hub import Hub

HOSTILE = "x`\n---\nlicense: mit\n---\n# Owned <script>|`` ``` {{ y }} \u2028 \x1b[2J"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub that this process's client uses, and a token that may write there."""
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

    with writable_hub.serve() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HF_TOKEN", writable_hub.TOKEN)
        monkeypatch.setenv("NO_PROXY", "*")
        huggingface_hub.close_session()
        disable_progress_bars()
        yield hub
        enable_progress_bars()
        huggingface_hub.close_session()


def written(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    path = tmp_path / "out.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows or (record(), record(id="r2"))))
    return path


def push(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["push", *map(str, arguments)])


def refused(*arguments: str | Path) -> str:
    result = push(*arguments)
    assert result.exit_code == 2, result.output
    return result.output.removeprefix("Error: ")


def test_the_rows_come_back_byte_for_byte_and_the_card_is_one(tmp_path: Path) -> None:
    path = written(tmp_path)
    code = (
        "from huggingface_hub import DatasetCard, hf_hub_download\n"
        "print(open(hf_hub_download('me/rows', 'train.jsonl', repo_type='dataset'), newline='').read(), end='')\n"
        "print(DatasetCard.load('me/rows').data.to_dict())\n"
    )
    with writable_hub.serve() as hub:
        environment = {
            "HF_ENDPOINT": hub.address, "HF_TOKEN": writable_hub.TOKEN, "HF_HOME": str(tmp_path), "NO_PROXY": "*",
            "PATH": os.environ["PATH"], "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }  # fmt: skip
        tool = [sys.executable, "-c", "from mindgap_data.commands import main; main()"]
        command = [*tool, "push", str(path), "--to", "me/rows", "--license", "mit"]
        pushed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (pushed.returncode, pushed.stderr) == (0, "")
        assert pushed.stdout == f"{hub.address}/datasets/me/rows: train.jsonl and its card\n"
        read = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert hub.private == {"me/rows": True}
    *rows, data = read.stdout.splitlines(keepends=True)
    assert "".join(rows) == path.read_text()
    assert eval(data) == {
        "license": "mit",
        "size_categories": "n<1K",
        "task_categories": "text-generation",
        "tags": ["mindgap", "supervised-fine-tuning", "off-policy"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "train.jsonl"}]}],
    }


def test_the_card_has_tiers_pass_rate_gap_and_provenance(tmp_path: Path) -> None:
    expert = record(id="r3", tier="expert", behavior_logprobs=None, expert_token_ids=[52, 258])
    own = record(expert_token_ids=[52, 258], expert_logprobs=[-2.0, -1.0])
    path = written(tmp_path, own, {**expert, "expert_logprobs": [-0.5, 0.0], "attempts": {"pass_rate": 0.0}})
    (tmp_path / "out.jsonl.summary.json").write_text('{"settings": {"samples": 4, "seed": 0, "limit": null}}')
    card = push(path, "--to", "me/rows", "--dry-run").output
    for line in (
        "| self | 1 | 50.0% | the model's own response to the plain prompt |",
        "| self | 1 | 1 | 0 |",
        "Pass rate of the plain prompt: 50.0%, the mean over 2 rows. It is biased upward where drawing stopped at the "
        "first correct response.",
        "| NLL of the expert's text | 0.875 [0.250, 1.500] |",
        "| NLL of the response | 0.250 [0.250, 0.250] |",
        "- policy: `tiny`",
        '- sampling: `{"temperature": 1.0}`',
        "- verifier: `math`",
        "- mindgap: `0.1.0`",
        "- `samples`: `4`",
        'rows = load_dataset("me/rows", split="train")',
        "Unknown: whoever published these rows has not said which licence their source has.",
    ):
        assert f"{line}\n" in card
    assert "`seed`" not in card  # the rows tell it


def test_rows_that_nobody_checked_are_not_called_correct(tmp_path: Path) -> None:
    provenance = {**record()["provenance"], "verifier": "none", "verifier_kind": "unchecked"}
    path = written(tmp_path, record(provenance=provenance, attempts={"self": {"sampled": 2, "correct": 1}}))
    card = push(path, "--to", "me/rows", "--dry-run").output
    assert "| stage | draws | accepted | truncated |" in card
    assert "**Responses that nobody checked**: 1 of 1 self and guided rows are unchecked (--verifier none)." in card
    assert "correct" not in card
    assert "ass rate" not in card


def test_nothing_in_a_row_breaks_the_card(tmp_path: Path) -> None:
    from huggingface_hub import DatasetCard

    provenance = {name: HOSTILE if isinstance(value, str) else value for name, value in record()["provenance"].items()}
    provenance |= {"sampling": {HOSTILE: HOSTILE}, "behavior_prompt": "plain"}
    row = record(id=HOSTILE, answer=HOSTILE, expert=HOSTILE, provenance=provenance, extra=HOSTILE)
    path = written(tmp_path, row)
    (tmp_path / "out.jsonl.summary.json").write_text(json.dumps({"settings": {HOSTILE: HOSTILE}}))
    text = push(path, "--to", "me/rows", "--license", "other", "--dry-run").output
    card = DatasetCard(text)
    assert card.data.license == "other"
    headings = [line for line in card.text.splitlines() if line.startswith("#")]
    assert headings == ["# rows", "## Rows", "## The policy gap", "## How it was made", "## Use", "## Licence"]
    outside = "".join(card.text.replace("```", "").split("`")[::2])
    assert "script" not in outside
    assert "\x1b" not in text


def test_rows_of_two_policies_are_pushed_without_a_gap(tmp_path: Path) -> None:
    other = record(id="r2", provenance={**record()["provenance"], "model": "other"})
    card = push(written(tmp_path, record(), other), "--to", "me/rows", "--dry-run").output
    assert "- policy: `tiny`, `other`\n" in card
    assert "Not measured: `2: provenance.model is 'other', not 'tiny' as in line 1: log-probs of two policies" in card


def test_a_file_keeps_its_ending_and_a_card_can_be_ones_own(hub: Hub, tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps(record()).encode())
    (tmp_path / "out.jsonl.gz").write_bytes(packed)
    (tmp_path / "card.md").write_text("---\nlicense: mit\n---\n# Mine\n")
    result = push(
        tmp_path / "out.jsonl.gz", "--to", "rows", "--card", tmp_path / "card.md", "--public", "--license", "mit"
    )
    assert (result.exit_code, result.output) == (0, f"{hub.address}/datasets/me/rows: train.jsonl.gz and its card\n")
    assert hub.private == {"me/rows": False}
    assert hub.files["me/rows"] == {"train.jsonl.gz": packed, "README.md": b"---\nlicense: mit\n---\n# Mine\n"}


@pytest.mark.parametrize("breaks", ["hang_up_at_commit", "lose_answer_of_commit"])
def test_a_push_that_broke_off_goes_on(breaks: str, hub: Hub, tmp_path: Path) -> None:
    path = written(tmp_path)
    setattr(hub, breaks, 1)
    message = refused(path, "--to", "me/rows", "--license", "mit")
    assert message.startswith("me/rows: cannot be pushed: ")
    assert message.endswith("; give the same command again to go on\n")
    assert message.count("\n") == 1
    assert push(path, "--to", "me/rows", "--license", "mit").exit_code == 0
    assert hub.files["me/rows"]["train.jsonl"] == path.read_bytes()
    assert (hub.uploads, hub.commits) == (1, 1)


def test_other_contents_are_replaced_only_where_asked(hub: Hub, tmp_path: Path) -> None:
    push(written(tmp_path), "--to", "me/rows", "--license", "mit")
    path = written(tmp_path, record(id="r3"))
    assert refused(path, "--to", "me/rows", "--license", "mit") == (
        "me/rows: has another README.md and another train.jsonl; choose another --to, or replace them with "
        "--overwrite\n"
    )
    assert push(path, "--to", "me/rows", "--license", "mit", "--overwrite").exit_code == 0
    assert hub.files["me/rows"]["train.jsonl"] == path.read_bytes()


def test_what_the_hub_does_not_allow(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path)
    assert refused(path, "--to", "them/rows", "--license", "mit") == (
        "them/rows: the token has no right to write there; choose another --to, or use a token that has\n"
    )
    assert refused(path, "--to", "me/rows", "--license", "wtfpl") == (
        'me/rows: the hub refuses it: Invalid metadata in README.md. - "license" must be one of [apache-2.0, mit, '
        "other]\n"
    )
    monkeypatch.delenv("HF_TOKEN")
    assert refused(path, "--to", "me/rows", "--license", "mit") == (
        "no token of the Hugging Face hub; log in with `hf auth login`, or set HF_TOKEN\n"
    )


def test_a_hub_that_does_not_answer(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    message = refused(written(tmp_path), "--to", "me/rows", "--license", "mit")
    assert (
        message == "me/rows: cannot be pushed: [Errno 111] Connection refused; give the same command again to go on\n"
    )


def test_what_is_asked_wrongly(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert refused(path, "--to", "a/b/c", "--dry-run") == (
        "--to a/b/c: is not a name of the Hugging Face hub; give it as USER/NAME\n"
    )
    assert refused(path, "--to", "me/rows", "--license", "MIT\nx: y", "--dry-run") == (
        "--license MIT x: y: give the hub's name for it, such as apache-2.0 or other\n"
    )
    assert refused(path, "--to", "me/rows", "--public", "--dry-run") == (
        "--public: say with --license under which licence the source of these rows is\n"
    )
    path.write_text('{"messages": []}\n')
    assert refused(path, "--to", "me/rows", "--dry-run") == (
        f"{path}:1: the row has no policy_logprobs; make the file with `mindgap-data rewrite`, or add them with "
        "`mindgap-data score`\n"
    )
