"""The steps of the rounds: rewrite, train, evaluate; each a command of its own, skipped once it is finished."""

import fcntl
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mindgap_data.errors import UserError
from mindgap_data.evaluation.folder import evaluation_files
from mindgap_data.rounds.plan import CheckedPlan, round_recipe
from mindgap_data.rows.jsonl import dumps
from mindgap_data.rows.sources import open_source
from mindgap_data.rows.writing import AtomicWriter
from mindgap_data.run.job import RunFiles
from mindgap_data.run.journal import changed_settings
from mindgap_data.run.programs import run_program


@dataclass(frozen=True)
class RoundFolder:
    """What one round leaves in the output folder."""

    number: int  # from 1
    path: Path

    @property
    def rewritten(self) -> RunFiles:
        """The rewritten file and what goes with it."""
        return RunFiles.beside(self.path / "rewritten.jsonl")

    @property
    def recipe(self) -> Path:
        """The recipe it was trained with."""
        return self.path / "recipe.yaml"

    @property
    def model(self) -> Path:
        """What training wrote: an adapter or a model."""
        return self.path / "model"

    @property
    def trained(self) -> Path:
        """There once training is finished; names the data it was trained on."""
        return self.path / "trained.json"

    @property
    def evaluation(self) -> Path:
        """The evaluation of what training wrote."""
        return self.path / "evaluation"

    def trained_options(self) -> list[str]:
        """How a command is told the trained policy."""
        return ["--adapter" if self._is_adapter else "--model", str(self.model)]

    def training_start(self) -> dict[str, str]:
        """How the next recipe is told to go on from here."""
        return {"lora_model_dir" if self._is_adapter else "base_model": str(self.model)}

    @property
    def _is_adapter(self) -> bool:
        return (self.model / "adapter_config.json").exists()


class Rounds:
    """The rounds of one plan in its folder; run inside :meth:`locked`."""

    def __init__(
        self,
        checked: CheckedPlan,
        rewrite_options: Sequence[str],
        evaluate_options: Sequence[str],
        say: Callable[[str], None],
    ) -> None:
        """Prepare the steps.

        Args:
            checked: the plan.
            rewrite_options: further words of every `mindgap-data rewrite`.
            evaluate_options: further words of every `mindgap-data evaluate`.
            say: takes one line as each step begins.
        """
        self._checked, self.plan = checked, checked.plan
        self._rewrite_options, self._evaluate_options = list(rewrite_options), list(evaluate_options)
        self._say = say
        self._held: tuple[int, ...] = ()  # the lock, which the steps hold too: a killed run may leave one behind
        self.folders = [RoundFolder(n, self.plan.output / f"round-{n}") for n in range(1, self.plan.rounds + 1)]
        self.untrained = self.plan.output / "untrained"  # the evaluation of the policy as it was

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder.

        Raises:
            UserError: another run holds it, or it has rounds of another plan.
        """
        output = self.plan.output
        try:
            output.mkdir(parents=True, exist_ok=True)
            lock = (output / "lock").open("w")
        except OSError as error:
            raise UserError(f"{output}: the folder cannot be written: {error.strerror}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"{output}: another run is working here, or what a killed one started still is; wait for it"
                ) from error
            self._held = (lock.fileno(),)
            self._refuse_other_plan()
            yield

    def run(self) -> Iterator[RoundFolder | None]:
        """Do what is not done yet; yields None after the untrained policy, then every finished round."""
        self._evaluate(self.untrained, [], "untrained policy")
        yield None
        before: RoundFolder | None = None
        for folder in self.folders:
            self._rewrite(folder, before)
            self._train(folder, before)
            self._evaluate(folder.evaluation, folder.trained_options(), self._name(folder))
            yield folder
            before = folder

    def _rewrite(self, folder: RoundFolder, before: RoundFolder | None) -> None:
        files = folder.rewritten
        if files.output.exists() and not files.journal.exists():
            return
        folder.path.mkdir(exist_ok=True)
        options = [] if before is None else before.trained_options()
        if before is not None:
            options += ["--previous", str(before.rewritten.output), "--keep-within", str(self.plan.keep_within)]
        self._run(
            f"{self._name(folder)}: rewriting",
            ["mindgap-data", "rewrite", self.plan.input, *self._policy(options), "-o", str(files.output)],
            self._rewrite_options,
            folder.path / "rewrite.log",
        )

    def _train(self, folder: RoundFolder, before: RoundFolder | None) -> None:
        data = folder.rewritten.output
        wanted = {"data": open_source(str(data)).fingerprint}
        if folder.trained.exists():
            if json.loads(folder.trained.read_text(encoding="utf-8")) != wanted:
                raise UserError(
                    f"{folder.path}: was trained on another {data.name}; delete {folder.trained} and "
                    f"{folder.evaluation} to train again"
                )
            return
        start = {} if before is None else before.training_start()
        recipe = round_recipe(self._checked.recipe, data, folder.model, folder.path / "prepared", start)
        _write(folder.recipe, yaml.safe_dump(recipe, sort_keys=False))
        command = ["axolotl", "train", str(folder.recipe), "--launcher", self.plan.launcher]
        self._run(f"{self._name(folder)}: training", command, [], folder.path / "train.log")
        _write(folder.trained, dumps(wanted))

    def _evaluate(self, folder: Path, options: Sequence[str], name: str) -> None:
        files = evaluation_files(folder)
        if files.summary.exists() and not files.journal.exists():
            return
        self._run(
            f"{name}: evaluating",
            ["mindgap-data", "evaluate", *self.plan.benchmarks, *self._policy(options), "-o", str(folder)],
            self._evaluate_options,
            folder.with_name(f"{folder.name}.log"),
        )

    def _policy(self, trained: Sequence[str]) -> list[str]:
        """The recipe's policy, or what training made of it."""
        named = [] if self.plan.model is None or "--model" in trained else ["--model", self.plan.model]
        return ["--recipe", str(self.plan.recipe), *named, *trained]

    def _run(self, doing: str, command: Sequence[str], options: Sequence[str], log: Path) -> None:
        self._say(f"{doing}; see {log}")
        run_program([*command, *options], log, held=self._held)

    def _name(self, folder: RoundFolder) -> str:
        return f"round {folder.number} of {self.plan.rounds}"

    def _refuse_other_plan(self) -> None:
        note = self.plan.output / "plan.json"
        settings: dict[str, Any] = json.loads(dumps(self._checked.settings()))
        if not note.exists():
            _write(note, dumps(settings) + "\n")
            return
        if changed := changed_settings(json.loads(note.read_text(encoding="utf-8")), settings):
            raise UserError(
                f"{self.plan.output}: holds rounds of other settings ({changed}); choose another output in "
                f"{self._checked.path}"
            )


def _write(path: Path, text: str) -> None:
    with AtomicWriter(path) as file:
        file.write_text(text)
        file.finish()
