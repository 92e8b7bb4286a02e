"""Runs the vLLM engine on a job file and writes what it returned; started by test_engines_vllm."""

import json
import multiprocessing
import sys
from pathlib import Path
from typing import Any

from mindgap_data.engines import Completion, Draw, Failure, Sampling, Score
from mindgap_data.engines.vllm import VllmEngine
from mindgap_data.errors import AdapterError, UserError
from mindgap_data.policy.models import ModelSpec, load_tokenizer


def open_engine(job: dict[str, Any], **options: Any) -> VllmEngine:
    settings = {
        "sampling": Sampling(),
        "adapter": job["adapter"],
        "revision": None,
        "max_context": 255,
        "dtype": None,
        "seed": 0,
        "engine_args": {"enforce_eager": True},
    }
    tokenizer = load_tokenizer(ModelSpec(model=job["model"]))
    return VllmEngine(options.pop("model", job["model"]), tokenizer=tokenizer, **{**settings, **options})


def message_of(job: dict[str, Any], **options: Any) -> str:
    try:
        open_engine(job, **options).close()
    except UserError as error:
        return error.message
    return "no error"


def run(engine: VllmEngine, requests: list[Draw | Score]) -> list[dict[str, Any]]:
    """Results in the order of the requests."""
    engine.submit(requests)
    results = {}
    while engine.in_flight:
        for request, result in engine.collect():
            results[request.key] = result
    return [describe(results[request.key]) for request in requests]


def describe(result: Any) -> dict[str, Any]:
    if isinstance(result, Failure):
        return {"failure": result.reason}
    if isinstance(result, Completion):
        return {"ids": result.token_ids, "logprobs": result.logprobs, "finish": result.finish}
    return {"logprobs": result.logprobs}


def main(job: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {"refused": [message_of(job, **options) for options in job["refused"]]}
    engine = open_engine(job)
    out["facts"] = {"dtype": engine.dtype, "max_context": engine.max_context, "revision": engine.revision}
    out |= results(engine, job)
    out["exchanged"] = []
    for adapter in job["then"]:
        error = exchange(engine, adapter)
        out["exchanged"].append({"error": error, **results(engine, job)})
    if job["kill"]:
        out["death"] = death_of(engine, job)
    engine.close()
    return out


def results(engine: VllmEngine, job: dict[str, Any]) -> dict[str, Any]:
    """Of all draws, with each sampling, and of all scores."""
    drawn = []
    for sampling in job["samplings"]:
        engine.sampling = Sampling(**sampling)
        draws = [Draw(str(seed), tuple(prompt), seed, cap) for prompt, seed, cap in job["draws"]]
        drawn.append(run(engine, draws))
    scores = [Score(str(i), tuple(prompt), tuple(response)) for i, (prompt, response) in enumerate(job["scores"])]
    return {"draws": drawn, "scores": run(engine, scores)}


def exchange(engine: VllmEngine, adapter: str) -> str | None:
    """What is said where the adapter cannot be loaded."""
    try:
        engine.use_adapter(adapter)
    except AdapterError as error:
        return error.message
    return None


def death_of(engine: VllmEngine, job: dict[str, Any]) -> str:
    """What the user reads when vLLM's process is killed while it draws."""
    prompt, seed, _ = job["draws"][0]
    engine.submit([Draw("last", tuple(prompt), seed, 100)])
    for child in multiprocessing.active_children():
        child.kill()
    try:
        while engine.in_flight:
            engine.collect()
    except UserError as error:
        return error.message
    return "no error"


if __name__ == "__main__":
    result = main(json.loads(Path(sys.argv[1]).read_text()))
    Path(sys.argv[2]).write_text(json.dumps(result))
