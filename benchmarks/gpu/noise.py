"""The noise floor: log-probs as drawn, as scored by the engine and by the trainer's forward, of an untrained policy."""

from collections.abc import Iterator

from benchmarks.gpu.drawing import open_engine
from benchmarks.gpu.kit import Kit, Measure

from mindgap_data.evaluation.texts import instruction_prompts
from mindgap_data.gap.computations import compare_computations, drawn_samples, engine_logprobs, trainer_logprobs
from mindgap_data.policy.models import ModelSpec

BATCH = 8
# Nats per token. In bfloat16 others find 7.5% of ratios outside [0.9, 1.1] (sd 0.06); twice that is a fault.
SD = {"float32": 1e-3, "bfloat16": 0.12}


def run(kit: Kit) -> Iterator[Measure]:
    """What `mindgap-data noise` computes."""
    engine = open_engine(kit, kit.dtype, max(4, kit.sizes.compared // 2))
    samples = drawn_samples(engine, instruction_prompts(), kit.sizes.compared, seed=3)
    by_engine = engine_logprobs(engine, samples)
    engine.close()
    spec = ModelSpec(str(kit.model), device=kit.device)
    single, batched = trainer_logprobs(spec, kit.dtype, samples, (1, BATCH))
    for one in compare_computations(samples, by_engine, (single, batched), BATCH):
        case, floor = f"{kit.dtype}, {one.name}", one.floor
        yield Measure(case, "sd", floor.sd, "nats", SD[kit.dtype])
        yield Measure(case, "outside [0.9, 1.1]", floor.outside)
        for level, ess in floor.ess.items():
            yield Measure(case, f"ESS/N {level}", ess)
