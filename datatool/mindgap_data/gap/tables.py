"""The gap as tables: figures down, tiers (or files) across."""

from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mindgap_data.gap.figures import GROUPS, Figures, Settings, WeightFigures
from mindgap_data.gap.measure import FileGap
from mindgap_data.statistics import Interval

Cell = Callable[[Figures], str | None]

_SIDE_NAMES = {"before": "expert", "after": "chosen", "after_dft": "chosen, w = π"}


def gap_tables(files: Sequence[FileGap], settings: Settings, console: Console, rescored: bool) -> RenderableType:
    """One file: one table with a column a tier. Several: one table a tier with a column a file."""
    lines = _lines(settings, rescored)
    if len(files) == 1:
        only = files[0]
        return _table(str(only.path), [(group, only.figures[group]) for group in GROUPS], lines, console)
    return Group(
        *(
            _table(group, [(str(file.path), file.figures[group]) for file in files], lines, console)
            for group in reversed(GROUPS)
        )
    )


def _table(
    title: str,
    columns: Sequence[tuple[str, Figures | None]],
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
    )
    table.add_column("", no_wrap=not console.is_terminal)
    for heading, _ in columns:
        table.add_column(Text(heading), justify="right", no_wrap=not console.is_terminal)
    for label, cell in lines:
        if cell is None:
            table.add_row(Text(label, style="bold"))
            continue
        values = [None if figures is None else cell(figures) for _, figures in columns]
        table.add_row(Text(f"  {label}"), *(Text(value or "–") for value in values))
    return table


def _lines(settings: Settings, rescored: bool) -> list[tuple[str, Cell | None]]:
    """(label, cell); a label without a cell is a heading."""
    return [
        ("rows", lambda f: f"{f.rows:,}"),
        ("rows with expert log-probs", lambda f: f"{f.paired:,}"),
        ("How likely the policy finds the text", None),
        ("NLL/token, expert (nats)", lambda f: _interval(f.before and f.before.nll)),
        ("NLL/token, chosen", lambda f: _interval(f.after.nll)),
        ("difference, per problem", lambda f: _interval(f.difference)),
        ("chosen likelier than expert", lambda f: _interval(f.closer, percent=True)),
        ("geometric-mean probability, expert", lambda f: _interval(f.before and f.before.probability)),
        ("geometric-mean probability, chosen", lambda f: _interval(f.after.probability)),
        ("perplexity, expert", lambda f: _interval(f.before and f.before.perplexity)),
        ("perplexity, chosen", lambda f: _interval(f.after.perplexity)),
        ("Token weights", None),
        *_weights("token", "ESS/N", lambda w: _interval(w.ess_fraction)),
        *_weights("token", "variance", lambda w: _interval(w.variance)),
        *_weights("token", "chi-square", lambda w: _interval(w.chi_square)),
        *_weights("token", _clip_label(settings), lambda w: _interval(w.clipped_share, percent=True)),
        *_weights("token", "largest", lambda w: _number(w.max)),
        ("Sequence weights", None),
        *_weights("sequence", "ESS/N", lambda w: _interval(w.ess_fraction)),
        *_weights("geometric", "ESS/N of geometric mean", lambda w: _interval(w.ess_fraction)),
        ("KL(behaviour || policy), nats/token", None),
        ("k1", lambda f: _interval(f.kl and f.kl.k1)),
        ("k2", lambda f: _interval(f.kl and f.kl.k2)),
        ("k3", lambda f: _interval(f.kl and f.kl.k3)),
        ("Prompt gap, plain - guided (nats)", None),
        ("per token", lambda f: _interval(f.prompt_gap and f.prompt_gap.per_token)),
        ("per response", lambda f: _interval(f.prompt_gap and f.prompt_gap.per_response)),
        *(
            [
                ("Drift since the file was made (nats)", None),
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


def _weights(level: str, label: str, read: Callable[[WeightFigures], str]) -> list[tuple[str, Cell]]:
    def cell(side: str) -> Cell:
        return lambda f: read(f.weights[side][level]) if side in f.weights else None

    return [(f"{label}, {name}", cell(side)) for side, name in _SIDE_NAMES.items()]


def _interval(value: Interval | None, percent: bool = False) -> str:
    if value is None or value.estimate != value.estimate:
        return "–"
    show = _percent if percent else _number
    return f"{show(value.estimate)} [{show(value.low)}, {show(value.high)}]"


def _number(value: float) -> str:
    if abs(value) < 1e-9:
        return "0.000"  # rounding errors of sums
    if 0.001 <= abs(value) < 10_000:
        return f"{value:.3f}"
    return f"{value:.1e}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}%"
