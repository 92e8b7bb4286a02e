"""Pacing: every row has its turn before any has two, and no row is trained staler than allowed."""

from hypothesis import given
from hypothesis import strategies as st

from mindgap_data.refresh.pacing import awaited_step, next_rows, note_tried

ROWS = [f"p{n}" for n in range(7)]


def test_rows_never_tried_come_first_then_those_not_tried_for_longest() -> None:
    tried: dict[str, int] = {}
    for step, rows in ((10, ["p2", "p1", "p5"]), (20, ["p0", "p2"])):
        note_tried(tried, rows, step)
    assert next_rows(ROWS, tried, 30, 6) == ["p3", "p4", "p6", "p1", "p5", "p0"]


def test_rows_that_this_adapter_has_tried_are_done() -> None:
    assert next_rows(ROWS, dict.fromkeys(ROWS, 10) | {"p4": 8}, 10, 5) == ["p4"]
    assert next_rows(ROWS, dict.fromkeys(ROWS, 10), 10, 5) == []
    assert next_rows(ROWS, {}, 0, 5) == []  # the policy at the start has drawn them all


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), max_size=60))
def test_no_row_has_its_turn_twice_before_another_has_it_once(events: list[tuple[int, int]]) -> None:
    """However adapters come (so many steps on) and batches are cut, and whatever becomes of the rows."""
    step, tried, turns = 1, dict[str, int](), dict.fromkeys(ROWS, 0)
    for further, count in events:
        step += further
        for row in (rows := next_rows(ROWS, tried, step, count)):
            turns[row] += 1
        note_tried(tried, rows, step)
        assert max(turns.values()) - min(turns.values()) <= 1


@given(
    every=st.integers(1, 5),
    slack=st.integers(0, 6),
    worker=st.lists(st.integers(0, 9), min_size=40, max_size=40),
)
def test_no_row_is_staler_than_allowed_even_in_a_batch_read_ahead(every: int, slack: int, worker: list[int]) -> None:
    """The worker does as much a step as it likes; training waits for the rest."""
    most, tried, newest = every + slack, dict.fromkeys(ROWS, 0), 0
    read_ahead = dict(tried)  # what the batch that is trained next was read from
    for step, rows in enumerate(worker):
        if step and step % every == 0:
            newest = step
        tried |= dict.fromkeys(next_rows(ROWS, tried, newest, rows), newest)
        while min(tried.values()) < awaited_step(step, most, newest):
            tried |= dict.fromkeys(next_rows(ROWS, tried, newest, 1), newest)
        assert max(step - drawn for drawn in [*tried.values(), *read_ahead.values()]) <= most
        read_ahead = dict(tried)


def test_what_no_usable_adapter_can_give_is_not_waited_for() -> None:
    assert awaited_step(100, 20, newest=90) == 81
    assert awaited_step(100, 20, newest=70) == 70
    assert awaited_step(100, 20, newest=0) == 0
