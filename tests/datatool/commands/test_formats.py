"""Every command reads what `rewrite` writes as gzip or parquet, and finds in it what it finds in JSONL."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mindgap_data.commands import main
from mindgap_data.rows.reading import read_rows
from tiny import save_tiny_model

NAMES = ("out.jsonl", "out.jsonl.gz", "out.parquet")


def run(*args: str | Path) -> str:
    result = CliRunner().invoke(main, [str(arg) for arg in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model, and a folder with one rewriting run in each format."""
    folder = tmp_path_factory.mktemp("formats")
    model = save_tiny_model(folder / "model")
    source = folder / "in.jsonl"
    rows = [
        {"id": f"p{n}", "problem": f"{n} + {n}?", "solution": f"\\boxed{{{2 * n}}}", "odd": n if n % 2 else str(n)}
        for n in range(12)
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in NAMES:
        run("rewrite", source, "-o", folder / name, "--model", model, "--verifier", "verdicts:by_length",
            "--max-tokens", "16", "--samples", "2", "--quiet")  # fmt: skip
    return model, folder


@pytest.mark.parametrize("name", NAMES[1:])
def test_every_reader_finds_the_same(files: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    model, folder = files
    plain, packed = folder / NAMES[0], folder / name
    assert list(read_rows(packed)) == list(read_rows(plain))

    def same(*args: str | Path) -> None:
        texts = [run(*(path if arg == "FILE" else arg for arg in args)) for path in (plain, packed)]
        assert texts[0].replace(NAMES[0], name) == texts[1]

    same("validate", "FILE", "--tokenizer", model)
    same("gap", "FILE", "--json", "--resamples", "50")
    same("audit", "FILE", "--json", "--verifier", "verdicts:by_length")
    run("report", packed, "-o", tmp_path / "report.html", "--tokenizer", "none")
    for path, ending in ((plain, "a"), (packed, "b")):
        run("select", path, "-o", tmp_path / ending)
        run("score", path, "-o", tmp_path / f"{ending}.{name}", "--model", model, "--quiet")
        run("export", path, "-o", tmp_path / f"{ending}.trl.jsonl", "--to", "trl")
    grid = sorted(one.name for one in (tmp_path / "a").iterdir())
    assert len(grid) == 4
    assert all((tmp_path / "a" / one).read_bytes() == (tmp_path / "b" / one).read_bytes() for one in grid)
    assert (tmp_path / f"a.{name}").read_bytes() == (tmp_path / f"b.{name}").read_bytes()
    assert (tmp_path / "a.trl.jsonl").read_bytes() == (tmp_path / "b.trl.jsonl").read_bytes()
