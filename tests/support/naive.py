"""The loss as the README writes it: full logits, one Python loop over tokens, autograd."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mindgap_data.policy.head import Adapter, Head
from mindgap_loss.weights import TokenFields

TIERS = ("self", "guided", "expert")


@dataclass
class Problem:
    """Leaf tensors of a head over N tokens, and what is known of the tokens."""

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None
    down: Tensor | None
    up: Tensor | None
    scale: float
    softcap: float | None
    targets: Tensor
    fields: TokenFields

    LORA_SCALING = 1.5

    def leaves(self) -> dict[str, Tensor]:
        named = {name: getattr(self, name) for name in ("hidden", "weight", "bias", "down", "up")}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def head(self) -> Head:
        adapters = ()
        if self.down is not None and self.up is not None:
            adapters = (Adapter(self.down, self.up, self.LORA_SCALING, nn.Identity()),)
        return Head(self.weight, self.bias, self.scale, self.softcap, adapters)

    def logits(self) -> Tensor:
        z = self.hidden @ self.weight.T
        if self.bias is not None:
            z = z + self.bias
        if self.down is not None and self.up is not None:
            z = z + self.LORA_SCALING * (self.hidden @ self.down.T @ self.up.T)
        z = z * self.scale
        return z if self.softcap is None else self.softcap * torch.tanh(z / self.softcap)

    def gradients(self) -> dict[str, Tensor | None]:
        found = {name: tensor.grad for name, tensor in self.leaves().items()}
        for tensor in self.leaves().values():
            tensor.grad = None
        return found


def problem(
    lengths=(5, 1, 7),
    tiers=(0, 1, 2),
    hidden=6,
    vocabulary=11,
    head="plain",
    trained=True,
    scale=1.0,
    softcap=None,
    dtype=torch.float64,
    seed=0,
) -> Problem:
    """A random one: samples of the given lengths and tiers, in order; head plain, bias or lora."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    sample = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths, dtype=torch.int64))
    count = len(sample)
    tier = torch.tensor(tiers, dtype=torch.int64)[sample]
    behavior, policy = (-1 - 2 * torch.rand(2, count, generator=generator)).unbind()
    lora = head == "lora"
    found = Problem(
        hidden=normal(count, hidden),
        weight=normal(vocabulary, hidden),
        bias=normal(vocabulary) if head == "bias" else None,
        down=normal(2, hidden) if lora else None,
        up=normal(vocabulary, 2) if lora else None,
        scale=scale,
        softcap=softcap,
        targets=torch.randint(0, vocabulary, (count,), generator=generator),
        fields=TokenFields(tier, behavior, policy, sample),
    )
    for name, tensor in found.leaves().items():
        tensor.requires_grad_(name in ("hidden", "down", "up") or trained)
    return found


def naive_entropy(logits: list[float]) -> float:
    """EAFT's weight of a token: the entropy of the 20 likeliest tokens among themselves, over log 20."""
    likeliest = sorted((math.exp(z) for z in logits), reverse=True)[:20]
    shares = [p / sum(likeliest) for p in likeliest]
    return -sum(p * math.log(p) for p in shares) / math.log(20)


def naive_weights(
    log_probs: list[float], fields: TokenFields, options: dict, logits: list[list[float]] | None = None
) -> list[float]:
    """Weight of every token by the formulas of the design, in Python floats."""
    preset = options.get("preset", "is")
    if preset == "eaft":
        factor = options.get("tier_weights", {})
        return [naive_entropy(z) * factor.get(TIERS[fields.tier[t]], 1.0) for t, z in enumerate(logits)]
    if preset == "iw-sft":
        options = {"level": "geometric", "clip_max": 16.0, **options}
    count = len(log_probs)
    ratio = {}
    for t in range(count):
        tier = TIERS[fields.tier[t]]
        source = {"paper": "dft", "asft": "dft", "sft": "unit", "iw-sft": "reference"}.get(preset)
        if source is None:
            source = "behavior" if tier != "expert" else options.get("expert_behavior", "dft")
        if source == "unit":
            continue
        if source == "dft":
            ratio[t] = None
        elif source == "reference":
            ratio[t] = log_probs[t] - float(fields.policy[t])
        else:
            ratio[t] = log_probs[t] - float(fields.behavior[t])
    weights = []
    for t in range(count):
        if t not in ratio:
            weight = 1.0
        elif ratio[t] is None:
            weight = math.exp(log_probs[t])
        else:
            same = [ratio[u] for u in range(count) if fields.sample[u] == fields.sample[t]]
            level = options.get("level", "token")
            log_weight = {"token": ratio[t], "sequence": sum(same), "geometric": sum(same) / len(same)}[level]
            weight = math.exp(log_weight)
            bound = options.get("clip_max", 2.0)
            clip = options.get("clip", "truncate")
            if clip == "truncate":
                weight = min(weight, bound)
            elif clip == "mask" and not 1 / bound <= weight <= bound:
                weight = 0.0
        weights.append(weight * options.get("tier_weights", {}).get(TIERS[fields.tier[t]], 1.0))
    return weights


def naive_loss(of: Problem, options: dict, denominator: float | None = None) -> Tensor:
    """The weighted loss with its autograd graph through the full logits."""
    logits = of.logits()
    p = logits.log_softmax(-1)[torch.arange(len(of.targets)), of.targets]
    weights = naive_weights(p.detach().tolist(), of.fields, options, logits.detach().tolist())
    kl_coef = options.get("kl_coef", 0.1 if options.get("preset") == "asft" else 0.0)
    forward = options.get("preset") == "asft" or options.get("kl") == "forward"
    total = sum((-w * p[t] for t, w in enumerate(weights)), logits.sum() * 0)
    for t in range(len(weights)):
        d = of.fields.policy[t] - p[t]
        total = total + kl_coef * ((-d).exp() - 1 + d if forward else d.exp() - 1 - d)
    if denominator is None:
        denominator = sum(weights) if options.get("normalize") == "batch" else len(weights)
    return total / denominator if denominator else total * 0
