"""Tasks of lm-evaluation-harness, run on the policies before and after, and paired by document."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from mindgap_data.engines.open import Policy
from mindgap_data.errors import UserError
from mindgap_data.evaluation.forgetting_run import ForgettingRequest, policy_after
from mindgap_data.policy.models import resolve_model_path
from mindgap_data.statistics import paired_bootstrap

Samples = Mapping[str, Mapping[str, Mapping[Any, float]]]  # task -> metric -> document -> value


def require_harness() -> None:
    """Raise UserError where lm-evaluation-harness is missing."""
    if find_spec("lm_eval") is None:
        raise UserError("--lm-eval: lm-evaluation-harness is not installed; run: pip install 'lm-eval[hf]'")


def harness_changes(request: ForgettingRequest, tasks: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Every policy after against the one before: task, metric, n, before, after and the paired difference.

    Raises:
        UserError: the harness does not know a task, or cannot run it.
    """
    before = _run(request.before, tasks)
    return {name: list(_changes(before, _run(policy_after(request.before, name), tasks))) for name in request.after}


def _run(policy: Policy, tasks: Sequence[str]) -> Samples:
    import torch
    from lm_eval import simple_evaluate

    spec = policy.spec
    # The harness would take CUDA for granted, and the checkpoint's precision on a CPU, too.
    device = spec.device if spec.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    dtype = "float32" if (spec.dtype, device) == ("auto", "cpu") else spec.dtype
    arguments = {"pretrained": str(resolve_model_path(spec.model)), "dtype": dtype, **spec.load_options}
    arguments |= {"peft": spec.adapter} if spec.adapter else {}
    arguments |= {"revision": spec.revision} if spec.revision else {}
    try:
        names, manager = _named(tasks)
        results = simple_evaluate(
            model="hf",
            model_args=arguments,
            tasks=names,
            task_manager=manager,
            batch_size=policy.settings.batch_size,
            device=device,
            log_samples=True,
        )
    except (KeyError, ValueError, OSError) as error:
        raise UserError(f"--lm-eval {','.join(tasks)}: {error}") from error
    return {task: _by_metric(samples) for task, samples in results["samples"].items()}


def _named(tasks: Sequence[str]) -> tuple[list[str], Any]:
    """Names of tasks, and the harness's index of them; a user's own task is named by its YAML file."""
    from lm_eval.tasks import TaskManager

    own = [Path(name) for name in tasks if name.endswith(".yaml")]
    names = [yaml.safe_load(Path(name).read_text(encoding="utf-8"))["task"] for name in tasks if Path(name) in own]
    names += [name for name in tasks if Path(name) not in own]
    folders = [str(path.parent) for path in own]
    return names, TaskManager(include_path=folders, include_defaults=len(own) < len(tasks))


def _by_metric(samples: Sequence[Mapping[str, Any]]) -> dict[str, dict[Any, float]]:
    """Metric -> document -> value, of the metrics that have one number a document."""
    found: dict[str, dict[Any, float]] = {}
    for sample in samples:
        for metric in sample.get("metrics", ()):
            value = sample.get(metric)
            if isinstance(value, int | float):
                found.setdefault(metric, {})[sample["doc_id"]] = float(value)
    return found


def _changes(before: Samples, after: Samples) -> Iterator[dict[str, Any]]:
    for task, metrics in before.items():
        for metric, values in metrics.items():
            documents = [document for document in values if document in after.get(task, {}).get(metric, {})]
            if not documents:
                continue
            a = [values[document] for document in documents]
            b = [after[task][metric][document] for document in documents]
            test = paired_bootstrap([(a, b)])
            yield {
                "task": task,
                "metric": metric,
                "n": len(documents),
                "before": sum(a) / len(a),
                "after": sum(b) / len(b),
                "difference": test.difference.as_dict(),
                "p_value": test.p_value,
            }
