"""The picture of the experiment: accuracy against forgetting, one point an arm."""

from pathlib import Path

from recipes.headline.compare import KL_OWN, NLL, PRIMARY, compare, interval
from recipes.headline.plan import DATA, LOSSES
from recipes.headline.report import Results


def draw(results: Results, path: Path) -> None:
    """Accuracy against forgetting, one point an arm with 95% intervals over problems and texts."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "headline", "svg.fonttype": "none", "font.size": 9})
    import matplotlib.pyplot as plt

    colours = dict(zip(DATA, ("#b2182b", "#ef8a62", "#67a9cf", "#2166ac"), strict=True))
    shapes = dict(zip(LOSSES, "so^", strict=True))
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.2), sharey=True)
    base = interval([results.base], PRIMARY).estimate
    for axis, measure, label in (
        (axes[0], NLL, "NLL of general text, change, nats a token"),
        (axes[1], KL_OWN, "KL(base ‖ arm) on the base's responses, nats a token"),
    ):
        for (data, loss), seeds in results.arms.items():
            y, x = interval(seeds, PRIMARY), compare([results.base], seeds, measure).difference
            axis.errorbar(
                x.estimate,
                100 * y.estimate,
                xerr=[[x.estimate - x.low], [x.high - x.estimate]],
                yerr=[[100 * (y.estimate - y.low)], [100 * (y.high - y.estimate)]],
                fmt=shapes[loss],
                color=colours[data],
                elinewidth=0.6,
                label=f"{data}, {loss}",
            )
        axis.plot(0, 100 * base, "k*", label="base")
        axis.axhline(100 * base, color="#999999", linewidth=0.5)
        axis.set_xlabel(label)
    axes[0].set_ylabel("accuracy, trained families, greedy, %")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=5, frameon=False)
    figure.tight_layout(rect=(0, 0.14, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
