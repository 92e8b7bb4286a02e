"""Run Axolotl as a user does, as a subprocess on the CPU, and read what it printed."""

import ast
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

BIN = Path(sys.executable).parent
# What a CPU needs, and a step that sees every row of a 16-row file.
CPU = {
    "bf16": False,
    "fp16": False,
    "tf32": False,
    "attn_implementation": "sdpa",
    "lora_mlp_kernel": False,
    "lora_qkv_kernel": False,
    "lora_o_kernel": False,
    "dataloader_pin_memory": False,
    "optimizer": "adamw_torch",
    "lr_scheduler": "constant",
    "warmup_steps": 0,
    "val_set_size": 0,
    "logging_steps": 1,
    "save_strategy": "no",
    "dataset_num_proc": 1,
    "seed": 1,
    "sequence_len": 256,
    "micro_batch_size": 2,
    "gradient_accumulation_steps": 8,
    "num_epochs": 6,
    "learning_rate": 0.01,
}
LORA = {"adapter": "lora", "lora_r": 4, "lora_alpha": 8, "lora_target_linear": True}
STRATEGY = "mindgap_axolotl.chat_template"


# Before several processes train, Axolotl asks torch whether GPUs reach each other. The CPU build of torch says that
# it has no CUDA, which Axolotl expects; a CUDA build says that there is no driver, which ends the run.
SEVERAL_PROCESSES = pytest.mark.skipif(
    torch.version.cuda is not None and not torch.cuda.is_available(),
    reason="Axolotl cannot train on several processes where torch is a CUDA build and there is no GPU",
)


@dataclass(frozen=True)
class Run:
    """What a finished run left: exit code, everything printed, and its logs as numbers."""

    code: int
    text: str
    logs: list[dict[str, float]]

    @property
    def train(self) -> list[dict[str, float]]:
        """Training logs, one a step."""
        return [log for log in self.logs if "loss" in log]

    @property
    def evals(self) -> list[dict[str, float]]:
        """Evaluation logs."""
        return [log for log in self.logs if "eval_loss" in log]


def recipe(model: Path, data: Path, **changes: Any) -> dict[str, Any]:
    """A recipe with the plugin; a change to None removes the key."""
    made = {
        **CPU,
        "base_model": str(model),
        "plugins": ["mindgap_axolotl.MindGapPlugin"],
        "datasets": [{"path": str(data), "type": STRATEGY}],
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}


def train(folder: Path, settings: dict[str, Any], processes: int = 1, timeout: int = 600) -> Run:
    """``axolotl train`` by its default launcher, accelerate, in a folder of its own."""
    # accelerate starts several processes only when told so, or where it sees several GPUs.
    several = () if processes == 1 else ("--", "--multi_gpu", "--num_processes", str(processes))
    return run("train", folder, settings, *several, timeout=timeout)


def run(command: str, folder: Path, settings: dict[str, Any], *arguments: str, timeout: int = 600) -> Run:
    """``axolotl COMMAND`` of a recipe, in a folder of its own."""
    folder.mkdir()
    settings = {"output_dir": str(folder / "out"), "dataset_prepared_path": str(folder / "prepared"), **settings}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "AXOLOTL_DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        # Tiny models, and cores shared with other tests: more threads only wait for each other.
        "OMP_NUM_THREADS": "1",
        "HF_DATASETS_CACHE": str(folder / "cache"),
        # Lets accelerate use gloo; a single process takes the CPU anyway.
        "ACCELERATE_USE_CPU": "true",
    }
    done = subprocess.run(
        [str(BIN / "axolotl"), command, "recipe.yaml", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    (folder / "log.txt").write_text(done.stdout)
    return Run(done.returncode, done.stdout, _logs(done.stdout))


def _logs(text: str) -> list[dict[str, float]]:
    found = re.findall(r"\{'(?:loss|eval_loss)': [^{}]*\}", text)
    return [{name: float(value) for name, value in ast.literal_eval(line).items()} for line in found]
