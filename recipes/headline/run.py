"""The headline experiment: rewrites, trains and measures every arm of the plan; run again, it continues.

python -m recipes.headline.run run -o runs/headline --workers 2
"""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from recipes.headline import arms as make
from recipes.headline import measure, picture, report, tasks
from recipes.headline.collect import collect
from recipes.headline.plan import LOSSES, PLAN, SEARCHED, Arm, Plan, arms

from mindgap_data.errors import UserError
from mindgap_data.policy.models import BUILTIN

WAIT = 5.0  # seconds between looks for work that others must finish first
RESULTS = Path(__file__).parent / "results" / "SmolLM2-135M-Instruct.jsonl"
PAGE = Path(__file__).parents[2] / "docs" / "headline.md"
# One thread a worker, and no processes for a few dozen rows.
WORKER = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "AXOLOTL_DATASET_NUM_PROC": "0"}


@dataclass(frozen=True)
class Job:
    """A piece of work with one result file; whoever holds its lock does it."""

    result: Path
    needs: tuple[Path, ...]
    work: Callable[[], Any]  # gives the result, as JSON


@dataclass(frozen=True)
class Experiment:
    """The work of a plan, in one folder."""

    plan: Plan
    model: str
    folder: Path

    def problems(self, name: str) -> Path:
        """A file of problems: train-<seed>, dev, trained, untrained, word."""
        return self.folder / "problems" / f"{name}.jsonl"

    def result(self, name: str) -> Path:
        """The result of a job."""
        return self.folder / "results" / f"{name}.json"

    def write_problems(self) -> None:
        """All problems of the plan, the same in every run; no training problem is a test or development problem."""
        plan, seen = self.plan, {turn["content"] for turn in tasks.EXAMPLE}
        files = {
            "trained": tasks.mixed(plan.trained, plan.test_trained, 0, seen),
            "untrained": tasks.mixed(plan.untrained, plan.test_untrained, 0, seen),
            "word": tasks.word_problems(),
            "dev": tasks.mixed(plan.trained, plan.dev, 99, seen),
        }
        for seed in plan.seeds:
            files[f"train-{seed}"] = tasks.mixed(plan.trained, plan.rows, seed, set(seen))
        self.problems("dev").parent.mkdir(parents=True, exist_ok=True)
        for name, rows in files.items():
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            self.problems(name).write_text(text, encoding="utf-8")

    def jobs(self) -> Iterator[Job]:
        """All work known so far, most urgent first; the arms appear once the learning rates are chosen."""
        first = self.plan.seeds[0]
        yield Job(self.result(f"rewrite-{first}"), (), lambda: self._rewrite(first))
        yield Job(self.result("base"), (), self._base)
        searches = list(self._searches(first))
        yield from searches
        yield Job(self.result("rates"), tuple(job.result for job in searches), self._choose_rates)
        for seed in self.plan.seeds[1:]:
            yield Job(self.result(f"rewrite-{seed}"), (), lambda seed=seed: self._rewrite(seed))  # type: ignore[misc]
        if self.result("rates").exists():
            rates = measure.read_json(self.result("rates"))["chosen"]
            for arm in arms(self.plan):
                yield self._arm_job(arm, rates[arm.loss])

    def finished(self) -> bool:
        """Whether every arm is there."""
        return self.result("rates").exists() and all(job.result.exists() for job in self.jobs())

    def _rewrite(self, seed: int) -> Any:
        output = self.folder / f"rewritten-{seed}.jsonl"
        make.rewrite(self.plan, self.model, self.problems(f"train-{seed}"), output, seed)
        make.select(output, self.folder / f"data-{seed}")
        return measure.read_json(output.with_name(output.name + ".summary.json"))

    def _searches(self, seed: int) -> Iterator[Job]:
        for data in SEARCHED:
            for loss in LOSSES:
                arm = Arm(data, loss, seed)
                if arm.trained_loss != loss:
                    continue
                for rate in self.plan.rates:
                    name = f"search-{data}-{loss}-{rate:g}"
                    needs = (self.result(f"rewrite-{seed}"),)
                    yield Job(self.result(name), needs, lambda arm=arm, rate=rate: self._search(arm, rate))  # type: ignore[misc]

    def _search(self, arm: Arm, rate: float) -> Any:
        adapter = self._train(arm, rate)
        outcomes = measure.evaluate(self.plan, self.model, adapter, [self.problems("dev")], adapter.parent / "dev")[
            "dev"
        ]
        return {"data": arm.data, "loss": arm.loss, "rate": rate, "outcomes": "".join(outcomes.values())}

    def _choose_rates(self) -> Any:
        """For each loss, the rate of the best mean development accuracy over the searched files; ties to the lower."""
        found = [measure.read_json(path) for path in sorted(self.folder.glob("results/search-*.json"))]
        chosen = {}
        for loss in LOSSES:
            means = {}
            for rate in self.plan.rates:
                wanted = {(data, Arm(data, loss, 0).trained_loss) for data in SEARCHED}
                scores = [
                    one["outcomes"].count("c") / len(one["outcomes"])
                    for one in found
                    if (one["data"], one["loss"]) in wanted and one["rate"] == rate
                ]
                means[rate] = sum(scores) / len(scores)
            chosen[loss] = max(means, key=lambda rate: (means[rate], -rate))
        return {"chosen": chosen, "tried": found}

    def _arm_job(self, arm: Arm, rate: float) -> Job:
        needs = (self.result(f"rewrite-{arm.seed}"), self.result("base"))
        return Job(self.result(f"arm-{arm.seed}-{arm.name}"), needs, lambda: self._arm(arm, rate))

    def _arm(self, arm: Arm, rate: float) -> Any:
        twin = self.result(f"arm-{arm.seed}-{arm.data}-{arm.trained_loss}")
        if arm.trained_loss != arm.loss and twin.exists() and measure.read_json(twin)["rate"] == rate:
            return {**measure.read_json(twin), "loss": arm.loss, "same_as": f"{arm.data}-{arm.trained_loss}"}
        adapter = self._train(arm, rate)
        trained = measure.read_json(adapter.parent / "trained.json")
        return {
            "data": arm.data,
            "loss": arm.loss,
            "seed": arm.seed,
            "rate": rate,
            "rows": trained["data"],
            "training": measure.training_figures(trained["log"]),
            "seconds": trained["seconds"],
            **self._measure(adapter, adapter.parent),
        }

    def _train(self, arm: Arm, rate: float) -> Path:
        """The trained adapter; not trained again where it is there."""
        folder = self.folder / "arms" / f"{arm.seed}-{arm.data}-{arm.trained_loss}-{rate:g}"
        if not (folder / "trained.json").exists():
            began = time.monotonic()
            data = self.folder / f"data-{arm.seed}" / f"{arm.data}.jsonl"
            figures = make.train(self.plan, self.model, data, arm.trained_loss, rate, arm.seed, folder)
            seconds = round(time.monotonic() - began, 1)
            make.write_json(folder / "trained.json", {**figures, "seconds": seconds})
        return folder / "adapter"

    def _base(self) -> Any:
        return {"data": "base", "loss": "", "seed": 0, **self._measure(None, self.folder / "base")}

    def _measure(self, adapter: Path | None, folder: Path) -> dict[str, Any]:
        plan, everything = self.plan, [self.problems(name) for name in ("trained", "untrained", "word")]
        folder.mkdir(parents=True, exist_ok=True)
        greedy = measure.evaluate(plan, self.model, adapter, everything, folder / "greedy")
        sampled = measure.evaluate(plan, self.model, adapter, everything[:1], folder / "sampled", samples=plan.sampled)
        texts = measure.texts(self.model, self.folder / "base" / "sampled" / "generations.jsonl")
        distances = measure.distances(self.model, adapter, texts, self.folder / "base" / "logprobs.pt")
        return {"greedy": greedy, "sampled": sampled, "texts": distances}


def work(experiment: Experiment) -> None:
    """Do whatever is ready and nobody else is doing, until all is done."""
    locks = experiment.folder / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    while not experiment.finished():
        for job in experiment.jobs():
            if not job.result.exists() and all(path.exists() for path in job.needs) and _do(job, locks):
                break  # look again from the top: what is most urgent may have changed
        else:
            time.sleep(WAIT)


def _do(job: Job, locks: Path) -> bool:
    """Do a job unless another worker has it; the lock goes with the process that holds it."""
    with (locks / job.result.stem).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not job.result.exists():
            began = time.monotonic()
            make.write_json(job.result, job.work())
            click.echo(f"{time.strftime('%H:%M:%S')} {job.result.stem}: {time.monotonic() - began:.0f} s", err=True)
        return True


@click.group()
def main() -> None:
    """Does training on rewritten data help, and what is forgotten? See plan.md."""


_OPTIONS = [
    click.option(
        "-o", "--output", "folder", default="runs/headline", show_default=True, type=click.Path(path_type=Path)
    ),
    click.option("--model", default=BUILTIN, show_default=True, help="Hub name or folder of the policy."),
    click.option("--plan", "plan_file", default=PLAN, type=click.Path(path_type=Path), help="Sizes and settings."),
]


def _options(function: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@main.command()
@_options
@click.option("--workers", default=2, show_default=True, help="Processes side by side, one thread each.")
def run(folder: Path, model: str, plan_file: Path, workers: int) -> None:
    """Run everything that is not done yet."""
    experiment = Experiment(Plan.read(plan_file), model, folder.resolve())
    settings = {"model": model, "plan": plan_file.read_text(encoding="utf-8")}
    note = folder / "settings.json"
    if note.exists() and measure.read_json(note) != settings:
        raise UserError(f"{folder}: was begun with another model or plan; choose another -o")
    make.write_json(note, settings)
    if not experiment.problems("dev").exists():
        experiment.write_problems()
    command = [sys.executable, "-m", "recipes.headline.run", "work", "-o", str(folder), "--model", model]
    command += ["--plan", str(plan_file)]
    started = []
    for number in range(workers):
        log = (folder / f"worker-{number}.log").open("ab")
        started.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | WORKER))
    if failed := [number for number, process in enumerate(started) if process.wait()]:
        raise UserError(f"worker {failed[0]} failed; its last words are in {folder}/worker-{failed[0]}.log")


@main.command("work")
@_options
def work_command(folder: Path, model: str, plan_file: Path) -> None:
    """One worker; `run` starts them."""
    work(Experiment(Plan.read(plan_file), model, folder.resolve()))


@main.command("report")
@_options
@click.option("--results", default=RESULTS, type=click.Path(path_type=Path), help="Where the figures are gathered.")
@click.option("--page", default=PAGE, type=click.Path(path_type=Path), help="Page whose tables are written afresh.")
def report_command(folder: Path, model: str, plan_file: Path, results: Path, page: Path) -> None:
    """Gather the run's figures, where there is one, and write the page's tables and picture from them."""
    if (folder / "results").exists():
        collect(Plan.read(plan_file), folder, results)
    found = report.Results.read(results)
    report.write_tables(page, report.tables(found))
    picture.draw(found, page.with_name("headline.svg"))


if __name__ == "__main__":
    main()
