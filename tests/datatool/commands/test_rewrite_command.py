"""`mindgap-data rewrite` on a random model: every row once, aligned; resumed equals undisturbed; one line an error."""

import json
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from killed import run_killed
from mindgap_data.commands import main
from mindgap_data.engines.logprobs import response_logprobs
from mindgap_data.policy.models import ModelSpec, load_model, load_tokenizer
from mindgap_data.record import record_error
from mindgap_data.rewrite.guided import GuidedPrompt
from tiny import save_tiny_model

COUNTS = ("correct", "wrong", "truncated", "no_answer", "checker_error", "leaked")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    rows = [{"id": f"p{n}", "problem": f"{n} + {n}?", "solution": f"\\boxed{{{2 * n}}}"} for n in range(24)]
    return write_rows(tmp_path / "in.jsonl", rows)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def arguments(source: Path, model: Path, output: Path, *more: str) -> list[str]:
    fixed = ["--verifier", "verdicts:by_length", "--max-tokens", "24", "--samples", "2", "--batch-size", "8", "--quiet"]
    return ["rewrite", str(source), "--model", str(model), "-o", str(output), *fixed, *more]


def invoke(*args: str) -> Result:
    return CliRunner().invoke(main, list(args), catch_exceptions=False)


def test_every_row_comes_out_once_aligned_and_in_order(model: Path, problems: Path, tmp_path: Path) -> None:
    result = invoke(*arguments(problems, model, tmp_path / "out.jsonl"))
    assert result.exit_code == 0, result.output
    rows = read_rows(tmp_path / "out.jsonl")
    assert [row["id"] for row in rows] == [f"p{n}" for n in range(24)]
    assert set(Counter(row["tier"] for row in rows)) == {"self", "guided", "expert"}
    policy, tokenizer = load_model(ModelSpec(str(model))), load_tokenizer(ModelSpec(str(model)))
    for row in rows:
        assert record_error(row) is None
        ids, prompt = row["response_token_ids"], row["messages"][:-1]
        # Both log-probs against a forward pass of one row, under the prompt each is of.
        plain = response_logprobs(policy, [(tokenizer.prompt_ids(prompt), ids)])[0]
        assert row["policy_logprobs"] == pytest.approx(plain, abs=1e-4)
        if row["tier"] == "expert":
            assert row["behavior_logprobs"] is None
            assert row["messages"][-1]["content"] == row["expert"]
        else:
            shown = prompt
            if row["tier"] == "guided":
                shown = GuidedPrompt().messages(prompt, row["expert"], row["answer"])
            sampled = response_logprobs(policy, [(tokenizer.prompt_ids(shown), ids)])[0]
            assert row["behavior_logprobs"] == pytest.approx(sampled, abs=1e-4)
            assert len(row["messages"][-1]["content"]) % 3 == 0
        expert = response_logprobs(policy, [(tokenizer.prompt_ids(prompt), row["expert_token_ids"])])[0]
        assert row["expert_logprobs"] == pytest.approx(expert, abs=1e-4)


def test_counts_add_up_and_the_summary_says_the_same(model: Path, problems: Path, tmp_path: Path) -> None:
    assert invoke(*arguments(problems, model, tmp_path / "out.jsonl", "--samples", "3")).exit_code == 0
    rows = read_rows(tmp_path / "out.jsonl")
    summary = json.loads((tmp_path / "out.jsonl.summary.json").read_text())
    drawn = Counter[str]()
    for row in rows:
        for stage in ("self", "guided"):
            if (counts := row["attempts"].get(stage)) is not None:
                assert counts["sampled"] == sum(counts[name] for name in COUNTS)
                # Stopped at the first correct one, so a chosen stage has exactly one.
                assert counts["correct"] == (row["tier"] == stage)
                drawn[stage] += counts["sampled"]
        own = row["attempts"]["self"]
        assert row["attempts"]["pass_rate"] == own["correct"] / own["sampled"]
    assert summary["tiers"] == Counter(row["tier"] for row in rows)
    assert summary["draws"] == sum(drawn.values())
    assert summary["stages"]["guided"]["sampled"] == drawn["guided"]


def test_processed_distribution_is_recorded_and_policy_stays_at_temperature_one(
    model: Path, problems: Path, tmp_path: Path
) -> None:
    sampling = ("--temperature", "0.7", "--top-p", "0.9")
    assert invoke(*arguments(problems, model, tmp_path / "out.jsonl", *sampling)).exit_code == 0
    policy, tokenizer = load_model(ModelSpec(str(model))), load_tokenizer(ModelSpec(str(model)))
    rows = [row for row in read_rows(tmp_path / "out.jsonl") if row["tier"] == "self"]
    assert rows
    for row in rows:
        assert row["provenance"]["behavior"] == "processed"
        prompt = tokenizer.prompt_ids(row["messages"][:-1])
        plain = response_logprobs(policy, [(prompt, row["response_token_ids"])])[0]
        assert row["policy_logprobs"] == pytest.approx(plain, abs=1e-4)
        assert row["behavior_logprobs"] != pytest.approx(plain, abs=1e-3)


@pytest.mark.parametrize("picker", ["grape", "shortest"])
def test_other_pickers_draw_all_and_say_so(model: Path, problems: Path, tmp_path: Path, picker: str) -> None:
    assert invoke(*arguments(problems, model, tmp_path / "out.jsonl", "--picker", picker)).exit_code == 0
    rows = read_rows(tmp_path / "out.jsonl")
    assert {row["attempts"]["self"]["sampled"] for row in rows} == {2}
    assert {row["provenance"]["selection"] for row in rows} == {picker}


def test_stages_without_the_expert_send_the_rest_to_the_failed_file(
    model: Path, problems: Path, tmp_path: Path
) -> None:
    assert (
        invoke(
            *arguments(problems, model, tmp_path / "out.jsonl", "--stages", "self", "--max-failed", "100%")
        ).exit_code
        == 0
    )
    rows, failed = read_rows(tmp_path / "out.jsonl"), read_rows(tmp_path / "out.failed.jsonl")
    assert {row["tier"] for row in rows} == {"self"}
    assert {row["reason"] for row in failed} == {"no correct response in stages self"}
    assert sorted([*(row["id"] for row in rows), *(row["id"] for row in failed)]) == sorted(f"p{n}" for n in range(24))


def test_an_instruction_is_in_messages_and_in_the_prompt_sampled(model: Path, problems: Path, tmp_path: Path) -> None:
    assert invoke(*arguments(problems, model, tmp_path / "out.jsonl", "--instruction", "Be brief.")).exit_code == 0
    assert all(row["messages"][-2]["content"].endswith("?\n\nBe brief.") for row in read_rows(tmp_path / "out.jsonl"))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_stopped_half_way_and_run_again_gives_the_same_bytes(
    model: Path, problems: Path, tmp_path: Path, how: signal.Signals
) -> None:
    undisturbed, stopped = tmp_path / "undisturbed.jsonl", tmp_path / "stopped.jsonl"
    assert invoke(*arguments(problems, model, undisturbed)).exit_code == 0
    program = [sys.executable, "-c", "from mindgap_data.commands import main; main()"]
    command = [*program, *arguments(problems, model, stopped)]
    process = run_killed(command, tmp_path / "stopped.jsonl.journal", 3, how)
    _, stderr = process.communicate()
    assert process.returncode == (-how if how == signal.SIGKILL else 130), stderr
    assert not stopped.exists()
    if how != signal.SIGKILL:
        assert stderr.strip().endswith(f"Run the same command again to continue {stopped}")
        assert "Traceback" not in stderr
    if how == signal.SIGKILL:  # a torn last line, as a crash leaves it
        journal = tmp_path / "stopped.jsonl.journal"
        journal.write_bytes(journal.read_bytes()[:-7])
    assert invoke(*arguments(problems, model, stopped)).exit_code == 0
    assert stopped.read_bytes() == undisturbed.read_bytes()
    assert not (tmp_path / "stopped.jsonl.journal").exists()
    assert not list(tmp_path.glob("*.part"))


def test_changed_settings_do_not_continue_a_run(model: Path, problems: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    program = [sys.executable, "-c", "from mindgap_data.commands import main; main()"]
    run_killed(
        [*program, *arguments(problems, model, output)], tmp_path / "out.jsonl.journal", 2, signal.SIGKILL
    ).wait()
    result = invoke(*arguments(problems, model, output, "--seed", "1", "--samples", "3"))
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: {output}.journal: an unfinished run with other settings (seed was 0, now 1; samples was 2, now 3); "
        "repeat its settings to continue it, choose another -o, or delete it with --restart\n"
    )
    result = invoke(*arguments(problems, model, output, "--seed", "1", "--restart"))
    assert result.exit_code == 0, result.output


def test_bad_rows_go_to_the_failed_file_each_with_its_reason(model: Path, tmp_path: Path) -> None:
    good = {"problem": "1 + 1?", "solution": "\\boxed{2}"}
    chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "#### 3"}]
    source = tmp_path / "in.jsonl"
    lines = [
        json.dumps({"id": "a", **good}).encode(),
        b'{"torn": "\xc3',
        b"not json",
        json.dumps({"id": "a", **good, "problem": "again"}).encode(),
        json.dumps({"id": "b", "problem": "no response"}).encode(),
        json.dumps({"id": "c", "problem": "no answer", "solution": "who knows"}).encode(),
        json.dumps({"id": "d", **good, "problem": "x" * 5000}).encode(),
        json.dumps({"id": "e", "messages": chat}).encode(),
        b'["a list"]',
    ]  # fmt: skip
    source.write_bytes(b"\n".join(lines) + b"\n")
    result = invoke(*arguments(source, model, tmp_path / "out.jsonl", "--max-failed", "7"))
    assert result.exit_code == 0, result.output
    assert [row["id"] for row in read_rows(tmp_path / "out.jsonl")] == ["a", "e"]
    reasons = {row["line"]: row["reason"] for row in read_rows(tmp_path / "out.failed.jsonl")}
    assert reasons == {
        2: "not UTF-8 at byte 10 of the line",
        3: "not JSON: Expecting value at column 1",
        4: f"field id: 'a' stands already at {source}:1",
        5: "unrecognised columns: id, problem; name them with --messages-field, or --prompt-field and --response-field",
        6: "no reference answer: no \\boxed{} and no #### in the demonstration; "
        "name the column that holds it with --answer-field",
        7: "the prompt is 5019 tokens long, the context holds 2048",
        9: "a row must be a JSON object, not list",
    }


def test_a_ten_megabyte_row_costs_that_row_only(model: Path, tmp_path: Path) -> None:
    rows = [{"problem": "p" * 10_000_000, "solution": "\\boxed{1}"}, {"problem": "1?", "solution": "\\boxed{1}"}]
    result = invoke(*arguments(write_rows(tmp_path / "in.jsonl", rows), model, tmp_path / "out.jsonl"))
    assert result.exit_code == 0, result.output
    assert len(read_rows(tmp_path / "out.jsonl")) == 1
    (failed,) = read_rows(tmp_path / "out.failed.jsonl")
    assert failed["reason"].endswith("the context holds 2048")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--stages", "guided,self"],
            "--stages guided,self: name some of self,guided,expert, in this order, each once",
        ),
        (["--engine-arg", "x"], "--engine-arg 'x': give it as NAME=VALUE"),
        (
            ["--engine-arg", "x=1"],
            "--engine-arg x: the transformers engine takes none; see --device, --dtype, --batch-size",
        ),
        (["--engine", "openai"], "--engine openai needs --base-url, for example --base-url http://localhost:8000/v1"),
        (["--recipe", "none.yaml"], "none.yaml: the recipe cannot be read: No such file or directory"),
        (
            ["--temperature", "0"],
            "--temperature 0 draws the same response every time, with no behaviour policy; use 0.7 or 1",
        ),
        (["--device", "cuda"], "--device cuda: torch sees no CUDA device here; use --device cpu"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_wrong_options_are_one_line(
    model: Path, problems: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    result = invoke(*arguments(problems, model, tmp_path / "out.jsonl", *options))
    assert (result.exit_code, result.stderr) == (2, f"Error: {message}\n")
    assert not (tmp_path / "out.jsonl").exists()


def test_a_missing_or_empty_input_is_one_line(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    result = invoke(*arguments(tmp_path / "empty.jsonl", model, tmp_path / "out.jsonl"))
    assert (result.exit_code, result.stderr) == (2, f"Error: {tmp_path / 'empty.jsonl'}: the file is empty\n")
    result = invoke(*arguments(tmp_path / "emty.jsonl", model, tmp_path / "out.jsonl"))
    expected = f"Error: {tmp_path / 'emty.jsonl'}: no such file; did you mean {tmp_path / 'empty.jsonl'}?\n"
    assert (result.exit_code, result.stderr) == (2, expected)


def test_an_output_that_exists_is_not_replaced_unasked(model: Path, problems: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("precious\n")
    result = invoke(*arguments(problems, model, output))
    expected = f"Error: {output}: the output exists; choose another with -o, or pass --overwrite\n"
    assert (result.exit_code, result.stderr) == (2, expected)
    assert output.read_text() == "precious\n"


def test_when_no_row_can_be_rewritten_the_reasons_are_kept(model: Path, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.jsonl", [{"a": 1}, {"b": 2}])
    result = invoke(*arguments(source, model, tmp_path / "out.jsonl"))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {source}: no row could be rewritten (line 1: unrecognised columns: a;")
    assert len(read_rows(tmp_path / "out.failed.jsonl")) == 2
    assert not (tmp_path / "out.jsonl").exists()


def test_a_model_without_a_chat_template_is_one_line(problems: Path, tmp_path: Path) -> None:
    from tiny import save_tiny_tokenizer

    folder = save_tiny_model(tmp_path / "plain")
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    save_tiny_tokenizer(folder, chat_template=None)
    result = invoke(*arguments(problems, folder, tmp_path / "out.jsonl"))
    assert (result.exit_code, result.stderr) == (
        2,
        f"Error: {folder}: the tokenizer has no chat template; name one with --chat-template (a file, or chatml, "
        "llama3, qwen_25, …), or give --prompt-template\n",
    )


def test_an_unknown_model_is_one_line(problems: Path, tmp_path: Path) -> None:
    result = invoke(*arguments(problems, tmp_path / "nowhere", tmp_path / "out.jsonl"))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: tokenizer '{tmp_path / 'nowhere'}' cannot be loaded: ")
    assert result.stderr.count("\n") == 1


def test_dry_run_shows_settings_prompts_and_cost_and_writes_nothing(
    model: Path, problems: Path, tmp_path: Path
) -> None:
    result = invoke(*arguments(problems, model, tmp_path / "out.jsonl", "--dry-run"))
    assert result.exit_code == 0
    assert "<|im_start|>user\n0 + 0?<|im_end|>\n<|im_start|>assistant\n" in result.output
    assert "<teacher_solution>\n\\boxed{0}\n</teacher_solution>" in result.output
    assert "Cost: 24 rows, 24 to 96 draws of at most 24 tokens (at most 2,304 tokens)." in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl"]
