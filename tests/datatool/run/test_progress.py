"""Progress: what the line says, that it comes without any row written, and the work it expects to be left."""

import random
import time

import pytest

from mindgap_data.engines import Scores
from mindgap_data.run import progress
from mindgap_data.run.outcomes import Meter
from mindgap_data.run.progress import RunProgress, draws_left, seconds_left, status


def meter_of(lengths: list[int], made: list[int]) -> Meter:
    """Rows that end by draw ``lengths[i]`` and have made ``made[i]`` of them."""
    meter = Meter(slots=16, busy=12)
    for needs, has in zip(lengths, made, strict=True):
        for n in range(1, has + 1):
            meter.reached[n] += 1
            meter.draws += 1
            meter.drawn_tokens += 10
        if has == needs:
            meter.ended[has] += 1
            meter.rows += 1
    return meter


def test_the_line_names_rows_draws_tokens_slots_and_the_time_left() -> None:
    meter = meter_of([2] * 40, [2] * 20 + [1] * 20)
    assert status(meter, 40, 30.0, {"guided": 3, "self": 9}) == (
        "20 of 40 rows finished (guided 3, self 9 written), 60 draws, 600 tokens (20/s), 12 of 16 slots busy, "
        "about 10 s left"
    )


def test_a_run_that_only_scores_goes_by_rows() -> None:
    meter = Meter(rows=10)
    meter.count(Scores((-1.0,) * 50))
    assert status(meter, 40, 60.0, {}) == "10 of 40 rows finished, 50 tokens (1/s), about 3 min left"


def test_no_time_is_promised_from_the_first_rows_or_without_a_total() -> None:
    assert seconds_left(Meter(rows=1), 100, 60.0) is None
    assert seconds_left(Meter(rows=50), None, 60.0) is None


@pytest.mark.parametrize("stop_at", [0.3, 0.6, 0.9])
def test_the_draws_left_are_those_of_the_rows_left(stop_at: float) -> None:
    """Rows with a cap of 8 draws, half of them hopeless, seen in the middle of a run: within a tenth of the truth."""
    chance = random.Random(1)
    lengths = [8 if chance.random() < 0.5 else min(8, 1 + int(chance.expovariate(0.5))) for _ in range(4000)]
    made = [min(needs, chance.randint(0, 8) if chance.random() < stop_at else 0) for needs in lengths]
    left = sum(lengths) - sum(made)
    assert draws_left(meter_of(lengths, made), len(lengths)) == pytest.approx(left, rel=0.1)


def test_recalled_draws_do_not_quicken_the_pace() -> None:
    meter = meter_of([1] * 100, [1] * 50 + [0] * 50)
    meter.recalled_draws = 40
    assert seconds_left(meter, 100, 20.0) == pytest.approx(100.0)


def test_a_line_comes_though_no_row_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.05)
    with RunProgress("rewrite", 10, Meter(slots=4)):
        time.sleep(0.4)
    assert capsys.readouterr().err.splitlines()[0] == "rewrite: 0 of 10 rows finished, 0 tokens (0/s)"
    with RunProgress("rewrite", 10, Meter(slots=4), quiet=True):
        time.sleep(0.2)
    assert capsys.readouterr().err == ""
