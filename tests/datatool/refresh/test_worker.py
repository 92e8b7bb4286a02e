"""The worker: rows are drawn by the adapter they name, broken adapters are passed over, a killed worker goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mindgap_data.commands import main
from mindgap_data.engines.logprobs import response_logprobs
from mindgap_data.policy.models import ModelSpec, adapter_fingerprint, load_model, load_tokenizer
from mindgap_data.refresh.folder import Batch, RefreshFolder
from mindgap_data.rewrite.guided import GuidedPrompt
from refreshing import VERIFIED, publish, run_of, save_adapter, write_problems
from tiny import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("refresh") / "tiny")


@pytest.fixture
def folder(tmp_path: Path, model: Path) -> RefreshFolder:
    write_problems(tmp_path / "in.jsonl")
    folder = RefreshFolder(tmp_path / "shared")
    folder.claim(run_of(model), resumes=False)
    return folder


def arguments(folder: RefreshFolder, model: Path, *more: str) -> list[str]:
    source = folder.path.with_name("in.jsonl")
    return ["refresh", str(source), "--model", str(model), "--folder", str(folder.path), *VERIFIED, "--quiet", *more]


def work(folder: RefreshFolder, model: Path, *more: str) -> Result:
    """Draw what is due; the worker gives up when nothing is any more."""
    result = CliRunner().invoke(main, arguments(folder, model, "--patience", "0.1", *more), catch_exceptions=False)
    assert result.exit_code == 2, result.output
    return result


def gave_up(folder: RefreshFolder) -> str:
    return (
        f"Error: {folder.path}: no new adapter for 0.1 s (--patience); is training running? Run the same command "
        "again to go on"
    )


def records(folder: RefreshFolder, batch: Batch) -> list[dict[str, Any]]:
    return [row for _, row in folder.records(batch)]


def assert_drawn_by(rows: list[dict[str, Any]], model: Path, adapter: Path, step: int) -> None:
    """Log-probs are those of this adapter in float64, and the row says so."""
    spec = ModelSpec(str(model), adapter=str(adapter))
    policy, tokenizer = load_model(spec).double(), load_tokenizer(spec)
    for row in rows:
        provenance = row["provenance"]
        assert (provenance["training_step"], provenance["adapter"]) == (step, str(adapter))
        assert provenance["adapter_weights"] == adapter_fingerprint(str(adapter))
        ids, prompt = row["response_token_ids"], row["messages"][:-1]
        plain = response_logprobs(policy, [(tokenizer.prompt_ids(prompt), ids)])[0]
        assert row["policy_logprobs"] == pytest.approx(plain, abs=1e-4)
        if row["tier"] != "expert":
            guided = GuidedPrompt().messages(prompt, row["expert"], row["answer"])
            shown = guided if row["tier"] == "guided" else prompt
            drawn = response_logprobs(policy, [(tokenizer.prompt_ids(shown), ids)])[0]
            assert row["behavior_logprobs"] == pytest.approx(drawn, abs=1e-4)


def test_every_row_is_drawn_by_each_adapter_that_it_names(folder: RefreshFolder, model: Path) -> None:
    publish(folder, model, 10)
    first = work(folder, model)
    assert first.stderr.splitlines()[-1] == gave_up(folder)
    publish(folder, model, 20)
    publish(folder, model, 30)
    work(folder, model)
    assert folder.batches() == [Batch(10, 1), Batch(30, 1)]  # the newest, not one after the other
    for batch in folder.batches():
        rows = records(folder, batch)
        assert [row["id"] for row in rows] == [f"p{n}" for n in range(8)]
        assert_drawn_by(rows, model, folder.adapter(batch.step), batch.step)
    texts = [[row["messages"][-1]["content"] for row in records(folder, batch)] for batch in folder.batches()]
    assert texts[0] != texts[1]


@pytest.mark.e2e
def test_an_adapter_is_exchanged_under_way_and_a_broken_one_is_passed_over(folder: RefreshFolder, model: Path) -> None:
    """One worker meets, one after the other: a good adapter, four that cannot be used, and a good one."""
    publish(folder, model, 10)
    process = start(folder, model)
    await_batch(folder, Batch(10, 1), process)
    broken = {
        20: lambda part: part.mkdir(),
        30: lambda part: torn(part, model),
        40: lambda part: not_finite(part, model),
    }
    for step, save in broken.items():
        folder.publish(step, save)
        await_skipped(folder, step, process)
    publish(folder, model, 50, target_modules=["q_proj"], r=8)  # another adapter than the run's, yet whole
    await_batch(folder, Batch(50, 1), process)
    publish(folder, save_tiny_model(folder.path.with_name("wider"), hidden_size=64), 60)
    await_skipped(folder, 60, process)
    publish(folder, model, 70)
    await_batch(folder, Batch(70, 1), process)
    folder.finish()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    for step in (10, 50, 70):
        assert_drawn_by(records(folder, Batch(step, 1)), model, folder.adapter(step), step)
    skipped = [line for line in said.splitlines() if "it is skipped" in line]
    assert [line.split(": ")[0] for line in skipped] == [
        f"adapter '{folder.adapter(20)}' cannot be loaded",
        f"adapter '{folder.adapter(30)}' cannot be loaded",
        f"adapter '{folder.adapter(40)}' cannot be used",
        f"adapter '{folder.adapter(60)}' cannot be loaded",
    ]
    assert skipped[0].endswith("it has no adapter_config.json; it is skipped, and the next one is awaited")
    assert skipped[2].endswith(
        "is not finite, so its training has diverged; it is skipped, and the next one is awaited"
    )


def torn(part: Path, model: Path) -> None:
    save_adapter(model, part, seed=0)
    weights = part / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def not_finite(part: Path, model: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_adapter(model, part, seed=0)
    weights = load_file(part / "adapter_model.safetensors")
    next(iter(weights.values()))[0, 0] = float("nan")
    save_file(weights, part / "adapter_model.safetensors")


def start(folder: RefreshFolder, model: Path) -> subprocess.Popen[str]:
    """The worker as a process of its own."""
    command = [str(Path(sys.executable).with_name("mindgap-data")), *arguments(folder, model)]
    support = str(Path(__file__).parents[2] / "support")
    environment = {**os.environ, "PYTHONPATH": support, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def await_batch(folder: RefreshFolder, batch: Batch, process: subprocess.Popen[str]) -> None:
    await_(lambda: batch in folder.batches(), process)


def await_skipped(folder: RefreshFolder, step: int, process: subprocess.Popen[str]) -> None:
    await_(lambda: folder.adapter(step).with_suffix(".skipped").exists(), process)


def await_(there: Any, process: subprocess.Popen[str]) -> None:
    began = time.monotonic()
    while not there():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() - began < 60
        time.sleep(0.05)


@pytest.mark.e2e
def test_a_killed_worker_goes_on_where_it_was_and_gives_the_same_rows(
    folder: RefreshFolder, model: Path, tmp_path: Path
) -> None:
    publish(folder, model, 10)
    undisturbed = RefreshFolder(tmp_path / "undisturbed" / "shared")
    undisturbed.claim(run_of(model), resumes=False)
    write_problems(tmp_path / "undisturbed" / "in.jsonl")
    (undisturbed.path / "adapters" / "adapter-000010").symlink_to(folder.adapter(10))
    work(undisturbed, model)

    journal = folder.files(Batch(10, 1)).with_name("rows-000010-0001.jsonl.journal")
    process = start(folder, model)
    while not (journal.exists() and journal.read_bytes().count(b'"group"') >= 2):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert folder.batches() == []
    publish(folder, model, 20)  # came while nobody worked
    work(folder, model)
    assert folder.batches() == [Batch(10, 1), Batch(20, 1)]
    for ours, theirs in zip(records(folder, Batch(10, 1)), records(undisturbed, Batch(10, 1)), strict=True):
        for row in (ours, theirs):
            row["provenance"]["adapter"] = ...
        assert ours == theirs


def test_batches_go_round_and_a_row_that_cannot_be_drawn_has_its_turn_like_any(
    folder: RefreshFolder, model: Path
) -> None:
    publish(folder, model, 10)
    result = work(folder, model, "--batch-rows", "3", "--stages", "self", "--samples", "4")
    assert [batch.number for batch in folder.batches()] == [1, 2, 3]
    succeeded = [row["id"] for batch in folder.batches() for row in records(folder, batch)]
    failed = [row for batch in folder.batches() for row in folder.failed(batch)]
    assert sorted(succeeded + failed) == [f"p{n}" for n in range(8)]
    assert 0 < len(failed) < 8
    assert result.stderr.splitlines()[-1] == gave_up(folder)


def refusal(folder: RefreshFolder, *args: str) -> str:
    result = CliRunner().invoke(main, list(args), catch_exceptions=False)
    assert result.exit_code == 2
    return result.stderr.splitlines()[-1]


def test_a_folder_of_another_model_or_template_is_refused(folder: RefreshFolder, model: Path) -> None:
    other = save_tiny_model(folder.path.with_name("other"))
    assert refusal(folder, *arguments(folder, other)) == (
        f"Error: {folder.path}: belongs to a run that trains {model}, and this worker draws with {other}; give the "
        "run's --recipe or --model, or its own --folder"
    )
    run = run_of(model)
    refused = refusal(folder, *arguments(folder, model), "--prompt-template", "Question: {{ problem }} Answer:")
    assert refused.startswith(
        f"Error: {folder.path}: the run's chat_template is {run.chat_template}, this worker's is "
    )
    assert refused.endswith(": ids or prompts differ; give the run's --recipe")


def test_an_input_without_some_of_the_rows_is_refused(folder: RefreshFolder, model: Path) -> None:
    source = write_problems(folder.path.with_name("in.jsonl"), 6)
    assert refusal(folder, *arguments(folder, model)) == (
        f"Error: {source}: lacks 2 of the 8 rows that the run trains on, such as 'p6'; give the file that the training "
        "data was rewritten from, with the same options"
    )


def test_two_workers_and_servers_are_refused(folder: RefreshFolder, model: Path) -> None:
    import fcntl

    with (folder.path / "worker.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert refusal(folder, *arguments(folder, model)) == (
            f"Error: {folder.path}: another worker is at it; stop it, or leave it to that one"
        )
    assert refusal(folder, *arguments(folder, model), "--engine", "openai", "--base-url", "http://localhost:1") == (
        "Error: a server does not follow the policy as it is trained; use --engine transformers or vllm"
    )


def test_a_worker_without_a_run_waits_and_says_so(tmp_path: Path, model: Path) -> None:
    folder = RefreshFolder(tmp_path / "nothing")
    write_problems(tmp_path / "in.jsonl")
    result = work(folder, model)
    assert result.stderr.splitlines()[-2:] == [
        f"{folder.path}: waiting for a training run to begin",
        gave_up(folder),
    ]


def test_the_line_of_a_batch_says_what_came_of_it(folder: RefreshFolder, model: Path) -> None:
    publish(folder, model, 10)
    said = work(folder, model).stderr
    (line,) = [line for line in said.splitlines() if line.startswith("rows-000010-0001.jsonl: ")]
    tiers = [row["tier"] for row in records(folder, Batch(10, 1))]
    wanted = ", ".join(f"{tiers.count(tier)} {tier}" for tier in ("self", "guided", "expert"))
    assert line.startswith(f"rows-000010-0001.jsonl: {wanted}; ")
    summary = json.loads((folder.path / "rows" / "rows-000010-0001.jsonl.summary.json").read_text())
    assert summary["rewritten"] == 8
