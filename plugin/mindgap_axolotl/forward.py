"""The model's forward, taught to return the weighted loss instead of logits.

The head is used *inside* the model's own forward, so that whatever wraps it (DDP, FSDP, PEFT, autocast,
offloading) has its weights in place, as for any other layer.
"""

import functools
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mindgap_data.errors import UserError
from mindgap_data.policy.head import causal_lm_of, check_head, head_of
from mindgap_loss.chunks import uncompiled
from mindgap_loss.loss import LossOutput, weighted_nll
from mindgap_loss.options import LossOptions
from mindgap_loss.sharding import gathered
from mindgap_loss.weights import TokenFields

PROBE_TOKENS = 8


class MicroBatch:
    """Targets and fields of one micro-batch on their way into the forward, and the result on its way back.

    Deliberately neither a tensor nor a dataclass: wrappers cast those to the model's dtype on the way in.

    Attributes:
        positions: int64 [N], where in the [B * L] tokens a hidden state predicts a trained token.
        targets: int64 [N], those tokens, in row-major order.
        fields: of the same N tokens.
        denominator: trained tokens of the global batch; None for those of this micro-batch.
        output: what the forward found.
    """

    def __init__(self, labels: Tensor, columns: dict[str, Tensor], denominator: Tensor | float | None) -> None:
        """Take apart what the collator made. Finding the positions waits for the device, once.

        Args:
            labels: int64 [B, L], -100 where not trained.
            columns: ``collators.BATCH_COLUMNS``, each [B, L].
            denominator: see the class.
        """
        trained = labels != -100
        trained[:, 0] = False  # nothing predicts a row's first token
        places = trained.flatten().nonzero()[:, 0]
        chosen = {name: column.flatten()[places] for name, column in columns.items()}
        self.positions, self.targets = places - 1, labels.flatten()[places]
        self.fields = TokenFields(
            tier=chosen["tier"],
            behavior=chosen["behavior_logprobs"].view(torch.float32),
            policy=chosen["policy_logprobs"].view(torch.float32),
            sample=chosen["sample"],
            samples=labels.numel(),
            pass_rate=chosen["pass_rate"].view(torch.float32),
        )
        self.denominator = denominator
        self.output: LossOutput | None = None


def teach_loss(model: Any, options: LossOptions) -> None:
    """Let the causal LM inside ``model`` answer ``forward(..., mindgap=MicroBatch)`` with {"loss": ...}.

    In training the loss is the weighted one, in evaluation the plain NLL. Calls without ``mindgap`` (generation,
    other callbacks) go to the model's own forward.

    Raises:
        UserError: the model's forward adds a loss of its own; or, from the first forward, its logits are not what
            its head says.
    """
    causal_lm = causal_lm_of(model)
    if getattr(causal_lm.config, "output_router_logits", False):
        raise UserError(
            f"{type(causal_lm).__name__} adds a router loss (output_router_logits: true), which the weighted loss "
            "would leave out; set output_router_logits: false in overrides_of_model_config"
        )
    own_forward, checked = causal_lm.forward, False

    @functools.wraps(own_forward)
    def forward(*args: Any, mindgap: MicroBatch | None = None, **kwargs: Any) -> Any:
        nonlocal checked
        if mindgap is None:
            return own_forward(*args, **kwargs)
        if not checked:
            _probe_head(causal_lm, own_forward, mindgap.targets.device)
            checked = True
        return {"loss": _loss(causal_lm, mindgap, options, kwargs)}

    causal_lm.forward = forward


def _loss(causal_lm: Any, batch: MicroBatch, options: LossOptions, inputs: dict[str, Any]) -> Tensor:
    own = ("labels", "num_items_in_batch", "logits_to_keep", "use_cache", "return_dict")
    inputs = {name: value for name, value in inputs.items() if value is not None and name not in own}
    hidden = causal_lm.base_model(**inputs, use_cache=False, return_dict=True).last_hidden_state
    hidden = hidden.flatten(0, 1)[batch.positions]
    denominator = max(len(batch.fields), 1) if batch.denominator is None else batch.denominator
    batch.output = weighted_nll(hidden, head_of(causal_lm), batch.targets, batch.fields, options, denominator)
    if not causal_lm.training:
        batch.output = replace(batch.output, loss=-batch.output.log_probs.sum() / denominator)
    return batch.output.loss


@uncompiled
@torch.no_grad()
def _probe_head(causal_lm: Any, own_forward: Any, device: torch.device) -> None:
    """Compare the head with the model's own logits on a few tokens: a loss on other logits must not be trained.

    Inside the first forward, where FSDP and ZeRO have the weights in place as for any other.

    Raises:
        UserError: they differ.
    """
    ids = torch.arange(PROBE_TOKENS, device=device)[None]
    training = causal_lm.training
    causal_lm.eval()
    try:
        logits = own_forward(input_ids=ids, use_cache=False).logits[0]
        hidden = causal_lm.base_model(input_ids=ids, use_cache=False, return_dict=True).last_hidden_state[0]
        with gathered(head_of(causal_lm)) as head:
            check_head(causal_lm, head, hidden, logits)
    finally:
        causal_lm.train(training)
