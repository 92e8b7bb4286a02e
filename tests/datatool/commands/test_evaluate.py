"""evaluate: runs on a tiny random model; figures recomputed from the generations kept; resume; bad input."""

import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from mindgap_data.commands import main
from mindgap_data.engines import Recalled
from mindgap_data.engines.transformers import TransformersEngine
from mindgap_data.evaluation.benchmarks import BOXED_INSTRUCTION, benchmark_name, to_benchmark_problem
from mindgap_data.policy.models import adapter_fingerprint
from mindgap_data.rows.shapes import Fields
from mindgap_data.rows.values import RowError
from tiny import save_tiny_model

LETTERS = [{"id": f"p{i}", "question": f"Say {letter}.", "answer": letter} for i, letter in enumerate("aeiourst")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    return write(tmp_path / "letters.jsonl", LETTERS)


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(model: Path, *args: Any, verifier: str = "letters:holds") -> tuple[int, str, str]:
    common = ["--model", model, "--max-tokens", 24, "--samples", 3, "--verifier", verifier, "--quiet", "--workers", 1]
    arguments = ["evaluate", *map(str, [*args[:1], *common, *args[1:]])]
    result = CliRunner().invoke(main, arguments, env={"COLUMNS": "100"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_figures_are_those_of_the_generations_kept(model: Path, bench: Path, tmp_path: Path) -> None:
    more = write(tmp_path / "more.jsonl", [{"problem": "Say x.", "answer": "x"}, {"problem": "Say e.", "answer": "e"}])
    code, output, _ = run(model, bench, more, "-o", tmp_path / "out", "--samples", 6)
    assert code == 0, output
    rows = read(tmp_path / "out" / "generations.jsonl")
    assert [row["benchmark"] for row in rows] == ["letters"] * 8 + ["more"] * 2
    assert [row["id"] for row in rows[:8]] == [row["id"] for row in LETTERS]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    for figures, of in zip(summary["benchmarks"], (rows[:8], rows[8:]), strict=True):
        right = [[draw["outcome"] == "correct" for draw in row["draws"]] for row in of]
        assert figures["accuracy"]["estimate"] == pytest.approx(np.mean(right))
        for k in (1, 2, 4, 6):
            subsets = [any(subset) for problem in right for subset in combinations(problem, k)]
            assert figures["pass_at"][str(k)]["estimate"] == pytest.approx(np.mean(subsets))
        outcomes = [draw["outcome"] for row in of for draw in row["draws"]]
        assert figures["shares"] == pytest.approx(
            {name: outcomes.count(name) / len(outcomes) for name in figures["shares"]}
        )
        assert figures["tokens"] == pytest.approx(np.mean([draw["tokens"] for row in of for draw in row["draws"]]))
    outcomes = {draw["outcome"] for row in rows for draw in row["draws"]}
    assert {"wrong", "truncated"} <= outcomes, "the model must give the figures something to count"
    means = [figures["accuracy"]["estimate"] for figures in summary["benchmarks"]]
    assert summary["average"]["accuracy"]["estimate"] == pytest.approx(np.mean(means))
    assert not (tmp_path / "out" / "journal").exists()


def test_draws_are_judged_as_their_text_says(model: Path, bench: Path, tmp_path: Path) -> None:
    assert run(model, bench, "-o", tmp_path / "out", "--samples", 12)[0] == 0
    draws = [(row["answer"], draw) for row in read(tmp_path / "out" / "generations.jsonl") for draw in row["draws"]]
    ended = [(answer, draw) for answer, draw in draws if draw["outcome"] != "truncated"]
    assert len(ended) >= 3
    for answer, draw in ended:
        assert (draw["outcome"] == "correct") == (answer in draw["text"])
    for _, draw in draws:
        assert draw["tokens"] <= 24
        if draw["outcome"] == "truncated":
            assert (draw["tokens"], draw["vote"]) == (24, None)
    assert len({draw["text"] for _, draw in draws}) > 80, "draws of one problem must differ"


def test_a_finished_run_is_shown_again_and_not_run_again(model: Path, bench: Path, tmp_path: Path) -> None:
    first = run(model, bench, "-o", tmp_path / "out")
    before = (tmp_path / "out" / "generations.jsonl").stat()
    assert run(model, bench, "-o", tmp_path / "out") == first
    after = (tmp_path / "out" / "generations.jsonl").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


def test_other_settings_are_refused_by_name_or_replace_it(model: Path, bench: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(model, bench, "-o", out)[0] == 0
    assert run(model, bench, "-o", out, "--seed", 1, "--samples", 2)[::2] == (
        2,
        f"Error: {out}: holds a finished evaluation with other settings (samples was 3, now 2; seed was 0, now 1); "
        "choose another -o, or replace it with --overwrite\n",
    )
    old = (out / "generations.jsonl").read_text()
    assert run(model, bench, "-o", out, "--seed", 1, "--overwrite")[0] == 0
    assert (out / "generations.jsonl").read_text() != old


def test_an_interrupted_run_continues_to_the_same_result(
    model: Path, bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--batch-size", 4)
    assert run(model, bench, "-o", tmp_path / "whole", *options)[0] == 0
    calls, computed = [], []
    collect, submit = TransformersEngine.collect, TransformersEngine.submit

    def breaks(self: TransformersEngine, checks: Any) -> Any:
        calls.append(1)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return collect(self, checks)

    def counted(self: TransformersEngine, requests: Any) -> None:
        computed.extend(request for request in requests if not isinstance(request, Recalled))
        submit(self, requests)

    with monkeypatch.context() as patch:
        patch.setattr(TransformersEngine, "collect", breaks)
        code, _, errors = run(model, bench, "-o", tmp_path / "torn", *options)
    assert code == 130
    assert errors.endswith(
        f"Stopped; nothing is lost. Run the same command again to continue {tmp_path / 'torn' / 'generations.jsonl'}\n"
    )
    assert [path.name for path in (tmp_path / "torn").iterdir()] == ["journal"]
    assert run(model, bench, "-o", tmp_path / "torn", *options, "--seed", 1)[2].startswith(
        f"Error: {tmp_path / 'torn' / 'journal'}: an unfinished run with other settings (seed was 0, now 1); "
    )
    monkeypatch.setattr(TransformersEngine, "submit", counted)
    assert run(model, bench, "-o", tmp_path / "torn", *options)[0] == 0
    draws = sum(len(json.loads(line)["draws"]) for line in (tmp_path / "whole" / "generations.jsonl").open())
    assert 0 < len(computed) < draws, "what was drawn before must not be drawn again"
    whole, torn = ((tmp_path / name / "generations.jsonl").read_bytes() for name in ("whole", "torn"))
    assert torn == whole
    figures = [json.loads((tmp_path / name / "summary.json").read_text())["benchmarks"] for name in ("whole", "torn")]
    assert figures[0] == figures[1]


def test_the_papers_protocol(model: Path, bench: Path, tmp_path: Path) -> None:
    arguments = [
        "evaluate",
        bench,
        "--model",
        model,
        "--protocol",
        "paper",
        "--limit",
        2,
        "--max-context",
        136,
        "--quiet",
    ]
    arguments += ["-o", tmp_path / "out", "--verifier", "letters:holds"]
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert (
        "The context holds 136 tokens, prompt included: no response can have the 4096 of --max-tokens" in result.stderr
    )
    settings = json.loads((tmp_path / "out" / "summary.json").read_text())["settings"]
    assert settings["samples"] == 16
    assert settings["sampling"] == {
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "max_tokens": 4096,
    }
    for row in read(tmp_path / "out" / "generations.jsonl"):
        assert row["messages"][-1]["content"].endswith("\n\n" + BOXED_INSTRUCTION)
        assert len(row["draws"]) == 16


def test_greedy_decoding_draws_once_and_ignores_the_seed(model: Path, bench: Path, tmp_path: Path) -> None:
    texts = []
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        arguments = ["evaluate", bench, "--model", model, "--max-tokens", 24, "--verifier", "letters:holds", "--quiet"]
        arguments += ["--workers", 1, "--temperature", 0, "--seed", seed, "-o", folder]
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        assert json.loads((folder / "summary.json").read_text())["settings"]["samples"] == 1
        texts.append([draw["text"] for row in read(folder / "generations.jsonl") for draw in row["draws"]])
    assert texts[0] == texts[1]
    assert len(texts[0]) == len(LETTERS)


def test_a_prompt_too_long_for_the_context_fails_apart(model: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "b.jsonl", [LETTERS[0], {"id": "long", "question": "Say " * 200, "answer": "a"}])
    code, output, _ = run(model, path, "-o", tmp_path / "out", "--max-context", 128)
    assert code == 0
    row = read(tmp_path / "out" / "generations.jsonl")[1]
    assert [draw["outcome"] for draw in row["draws"]] == ["failed"] * 3
    assert row["draws"][0]["reason"].endswith("tokens long, the context holds 128")
    assert "50.00% of draws failed in the engine and count as wrong; generations.jsonl says why." in output


def test_the_table(model: Path, bench: Path, tmp_path: Path) -> None:
    _, output, _ = run(model, bench, "-o", tmp_path / "out")
    figures = json.loads((tmp_path / "out" / "summary.json").read_text())["benchmarks"][0]
    accuracy = {name: f"{100 * value:.2f}" for name, value in figures["accuracy"].items()}
    assert "3 draws a problem; per cent, 95% interval over problems" in output
    assert f"{accuracy['estimate']} ({accuracy['low']} to {accuracy['high']})" in output
    assert f"letters: pass@1 {accuracy['estimate']}, pass@2 " in output
    assert output.endswith("letters has 8 problems: intervals of so few are too narrow.\n")


READABLE = [
    ({"problem": "1+1?", "answer": 2}, "1+1?", "2"),
    ({"problem": "1+1?", "answer": "2", "solution": "It is \\boxed{2}."}, "1+1?", "2"),
    ({"question": "1+1?", "answer": "2"}, "1+1?", "2"),
    ({"question": "1+1?", "answer": "One and one.\n#### 2"}, "1+1?", "2"),
    ({"question": "1+1?", "final_answer": "\\frac{4}{2}"}, "1+1?", "\\frac{4}{2}"),
    ({"messages": [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "\\boxed{2}"}]}, "1+1?", "2"),
]


@pytest.mark.parametrize(("row", "problem", "answer"), READABLE)
def test_benchmarks_need_no_demonstrations(row: dict[str, Any], problem: str, answer: str) -> None:
    read = to_benchmark_problem(row, Fields(), None)
    assert (read.messages[-1]["content"], read.answer) == (problem, answer)


def test_named_columns() -> None:
    row = {"text": "1+1?", "gold": "2", "answer": "no"}
    read = to_benchmark_problem(row, Fields(prompt="text", answer="gold"), None)
    assert (read.messages[-1]["content"], read.answer) == ("1+1?", "2")


@pytest.mark.parametrize("row", [{"problem": "1+1?"}, {"answer": "2"}, {"problem": "1+1?", "answer": ""}, {}])
def test_a_row_without_problem_or_answer_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(RowError):
        to_benchmark_problem(row, Fields(), None)


def test_a_problem_that_stands_twice_counts_twice(model: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "b.jsonl", [{"problem": "Say e.", "answer": "e"}] * 3)
    assert run(model, path, "-o", tmp_path / "out")[0] == 0
    rows = read(tmp_path / "out" / "generations.jsonl")
    first = rows[0]["id"]
    assert [row["id"] for row in rows] == [first, f"{first}#2", f"{first}#3"]
    assert rows[0]["draws"] != rows[1]["draws"], "they must not share draws"


@pytest.mark.parametrize(
    ("name", "benchmark"),
    [("a/math.jsonl", "math"), ("aime24.jsonl.gz", "aime24"), ("x.parquet", "x"), ("plain", "plain")],
)
def test_benchmark_names(name: str, benchmark: str) -> None:
    assert benchmark_name(name) == benchmark


def test_a_retrained_adapter_is_another_one(tmp_path: Path) -> None:
    weights = tmp_path / "adapter_model.safetensors"
    weights.write_bytes(b"one")
    first = adapter_fingerprint(str(tmp_path))
    weights.write_bytes(b"two")
    assert first != adapter_fingerprint(str(tmp_path))
    assert adapter_fingerprint(None) is None
    assert adapter_fingerprint("hub/name") is None


def test_bad_input_is_one_line(model: Path, bench: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    again = write(tmp_path / "other" / "letters.jsonl", LETTERS)
    bad = write(tmp_path / "bad.jsonl", [LETTERS[0], {"question": "1+1?"}])
    empty = write(tmp_path / "empty.jsonl", [])
    unnamed = "unrecognised columns: question; name them with --messages-field, or --prompt-field and --response-field"
    cases: list[tuple[list[Any], str]] = [
        (
            ["-o", tmp_path / "out"],
            "nothing to evaluate: name at least one file of problems, or two folders with --compare",
        ),
        (
            [bench, "--compare", tmp_path, tmp_path],
            f"--compare takes two finished folders and runs nothing: leave out {bench}",
        ),
        ([bench], "-o is missing: name a folder to keep the generations and figures in"),
        (
            [bench, again, "-o", tmp_path / "out"],
            f"{again}: there is another benchmark named letters; rename one of the files",
        ),
        ([bad, "-o", tmp_path / "out"], f"{bad}:2: {unnamed}"),
        ([empty, "-o", tmp_path / "out"], f"{empty}: the file is empty"),
        (
            [bench, "--protocol", "paper", "--temperature", 0.7, "-o", tmp_path / "out"],
            "--protocol paper sets --temperature to 1.0; leave out --temperature, or the protocol",
        ),
        (
            [bench, "--temperature", 0, "--samples", 4, "-o", tmp_path / "out"],
            "--temperature 0 draws the same response every time; use --samples 1, or a temperature",
        ),
        ([bench, "-o", bench / "out"], f"{bench}/out: the folder cannot be made: Not a directory"),
    ]
    for arguments, message in cases:
        result = CliRunner().invoke(main, ["evaluate", "--quiet", *map(str, arguments)])
        assert (result.exit_code, result.output) == (2, f"Error: {message}\n")
    assert not (tmp_path / "out").exists()
