"""The gap as tables: figures down, tiers (or files) across."""

from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mindgap_data.gap.figures import GROUPS, GapFigures, Settings, WeightFigures
from mindgap_data.gap.measure import FileGap
from mindgap_data.statistics import Interval

Shown = tuple[str, str]  # a figure, and its interval or nothing
Cell = Callable[[GapFigures], Shown]

_NOTHING: Shown = ("–", "")
_SIDE_NAMES = {"before": "expert", "after": "chosen", "after_dft": "chosen w=π"}

# Columns of text that labels, and a figure with its interval, take.
_LABEL_WIDTH, _COLUMN_WIDTH = 30, 25


def gap_tables(files: Sequence[FileGap], settings: Settings, console: Console, rescored: bool) -> RenderableType:
    """One file: one table with a column a tier. Several: one table a tier with a column a file.

    A terminal too narrow for every interval shows those of "all", or for several files none, and says so.
    """
    lines = _lines(settings, rescored)
    if len(files) == 1:
        only = files[0]
        tables = [_table(str(only.path), [(group, only.figures[group]) for group in GROUPS], lines, console)]
    else:
        tables = [
            _table(group, [(str(file.path), file.figures[group]) for file in files], lines, console)
            for group in reversed(GROUPS)
        ]
    note = f"In brackets: {settings.confidence:.0%} bootstrap intervals over rows. NLL, KL and gaps in nats."
    if not _is_wide(console, len(tables[0].columns) - 1):
        note += " A wider terminal, a pipe or --json shows them all."
    floors = [Text(_noise(file)) for file in files if file.noise is not None]
    return Group(*tables, *floors, Text(note, style="dim"))


def _noise(file: FileGap) -> str:
    """What the weights of an untrained policy come to, by rounding alone."""
    assert file.noise is not None
    levels = ", ".join(f"{_number(ess)} ({level})" for level, ess in file.noise.ess.items())
    return f"Noise alone ({file.path.name}.noise.json): ESS/N {levels}; sd {_number(file.noise.sd)} nats per token"


def _is_wide(console: Console, columns: int) -> bool:
    return console.width >= _LABEL_WIDTH + columns * _COLUMN_WIDTH


def _table(
    title: str,
    columns: Sequence[tuple[str, GapFigures | None]],
    lines: Sequence[tuple[str, Cell | None]],
    console: Console,
) -> Table:
    # Drawn lines are for people; a pipe gets aligned text.
    table = Table(
        title=Text(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD if console.is_terminal else None,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("", no_wrap=True)
    for heading, _ in columns:
        table.add_column(Text(heading), justify="right")
    wide = _is_wide(console, len(columns))
    for label, cell in lines:
        if cell is None:
            table.add_row(Text(label, style="bold"))
            continue
        values = [_NOTHING if figures is None else cell(figures) for _, figures in columns]
        table.add_row(
            Text(f"  {label}"),
            *(
                Text(f"{figure} {interval}".rstrip() if wide or heading == "all" else figure)
                for (figure, interval), (heading, _) in zip(values, columns, strict=True)
            ),
        )
    return table


def _lines(settings: Settings, rescored: bool) -> list[tuple[str, Cell | None]]:
    """(label, cell); a label without a cell is a heading."""
    return [
        ("rows", lambda f: (f"{f.rows:,}", "")),
        ("with expert log-probs", lambda f: (f"{f.paired:,}", "")),
        ("Likelihood under the policy", None),
        ("NLL/token, expert", lambda f: _interval(f.before and f.before.nll)),
        ("NLL/token, chosen", lambda f: _interval(f.after.nll)),
        ("difference by problem", lambda f: _interval(f.difference)),
        ("chosen is likelier", lambda f: _interval(f.closer, percent=True)),
        ("geo-mean prob., expert", lambda f: _interval(f.before and f.before.probability)),
        ("geo-mean prob., chosen", lambda f: _interval(f.after.probability)),
        ("perplexity, expert", lambda f: _interval(f.before and f.before.perplexity)),
        ("perplexity, chosen", lambda f: _interval(f.after.perplexity)),
        ("Token weights", None),
        *_weights("token", "ESS/N", lambda w: _interval(w.ess_fraction)),
        *_weights("token", "variance", lambda w: _interval(w.variance)),
        *_weights("token", "chi-square", lambda w: _interval(w.chi_square)),
        *_weights("token", _clip_label(settings), lambda w: _interval(w.clipped_share, percent=True)),
        *_weights("token", "largest", lambda w: (_number(w.max), "")),
        ("Sequence weights", None),
        *_weights("sequence", "ESS/N", lambda w: _interval(w.ess_fraction)),
        *_weights("geometric", "geom. ESS/N", lambda w: _interval(w.ess_fraction)),
        ("KL(mu || pi) per token", None),
        ("k1", lambda f: _interval(f.kl and f.kl.k1)),
        ("k2", lambda f: _interval(f.kl and f.kl.k2)),
        ("k3", lambda f: _interval(f.kl and f.kl.k3)),
        ("Prompt gap", None),
        ("per token", lambda f: _interval(f.prompt_gap and f.prompt_gap.per_token)),
        ("per response", lambda f: _interval(f.prompt_gap and f.prompt_gap.per_response)),
        *(
            [
                ("Drift from recorded policy", None),
                ("per token", lambda f: _interval(f.drift.per_token)),
                ("per response", lambda f: _interval(f.drift.per_response)),
            ]
            if rescored
            else []
        ),
    ]


def _clip_label(settings: Settings) -> str:
    if settings.clip == "none":
        return "clipped"
    if settings.clip == "mask":
        return f"outside [1/{settings.clip_max:g}, {settings.clip_max:g}]"
    return f"above {settings.clip_max:g}"


def _weights(level: str, label: str, read: Callable[[WeightFigures], Shown]) -> list[tuple[str, Cell]]:
    def cell(side: str) -> Cell:
        return lambda f: read(f.weights[side][level]) if side in f.weights else _NOTHING

    return [(f"{label}, {name}", cell(side)) for side, name in _SIDE_NAMES.items()]


def _interval(value: Interval | None, percent: bool = False) -> Shown:
    if value is None or value.estimate != value.estimate:
        return _NOTHING
    show = _percent if percent else _number
    return show(value.estimate), f"[{show(value.low)}, {show(value.high)}]"


def _number(value: float) -> str:
    if abs(value) < 1e-9:
        return "0.000"  # rounding errors of sums
    if 0.001 <= abs(value) < 10_000:
        return f"{value:.3f}"
    return f"{value:.1e}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}%"
