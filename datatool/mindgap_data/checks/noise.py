"""The rule on the noise floor: a level whose weights rounding alone spoils."""

from collections.abc import Iterator

from mindgap_data.checks.finding import Finding
from mindgap_data.checks.thresholds import AlarmThresholds
from mindgap_data.gap.noise import NoiseFloor


def noise_findings(floor: NoiseFloor, level: str, limits: AlarmThresholds) -> Iterator[Finding]:
    """Whether rounding alone already spoils the weights of a level."""
    ess = floor.ess[level]
    if ess < limits.ess_floor:
        yield Finding(
            f"noise_floor.{level}",
            "warn",
            f"Weights at level {level} are below their noise floor",
            f"rounding alone (sd {floor.sd:.3g} nats per token, {floor.tokens / floor.rows:.0f} tokens per response) "
            f"leaves ESS/N {ess:.3g}, below {limits.ess_floor:g}",
            "Use level: token or geometric, draw and train in float32, or score the file again by the trainer's "
            "forward with `mindgap-data score --engine transformers`.",
        )


def all_noise_findings(floor: NoiseFloor | None) -> Iterator[Finding]:
    """The levels below their noise floor, where it was measured."""
    if floor is not None:
        for level in floor.ess:
            yield from noise_findings(floor, level, AlarmThresholds())
