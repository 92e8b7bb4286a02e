"""Which rows are drawn again next, and how long training waits for them: no row is left behind for being slow."""

from collections.abc import Iterable, Mapping, Sequence


def next_rows(rows: Sequence[str], tried: Mapping[str, int], step: int, count: int) -> list[str]:
    """The rows to draw next with the adapter of ``step``: those never tried, then those not tried for longest.

    Every row has its turn once before any has it twice, whatever became of it and however often the adapter
    changes meanwhile: a round robin whose place follows from what is published.

    Args:
        rows: ids, in the order of the file.
        tried: as :func:`note_tried` keeps it.
        step: of the adapter.
        count: at most so many.
    """
    in_turn = [*(row for row in rows if row not in tried), *tried]
    return [row for row in in_turn if tried.get(row, 0) < step][:count]


def note_tried(tried: dict[str, int], rows: Iterable[str], step: int) -> None:
    """Note that the adapter of ``step`` has been asked for some rows.

    Args:
        tried: id to the step of the adapter that was last asked for it, the one tried longest ago first.
        rows: ids, in the order in which they were tried.
        step: of the adapter.
    """
    for row in rows:
        tried.pop(row, None)
        tried[row] = step


def awaited_step(step: int, max_staleness: int, newest: int) -> int:
    """The step that every row must have been tried at before training goes on.

    A row is trained at ``step`` or, where its batch has been read ahead, one later: then it must not be staler than
    allowed. More than the newest adapter cannot be asked for.

    Args:
        step: optimizer steps done.
        max_staleness: most steps between the drawing and the training of a row.
        newest: step of the newest adapter that can be used; 0 for none.
    """
    return min(step + 1 - max_staleness, newest)
