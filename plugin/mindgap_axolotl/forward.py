"""The model's forward, taught to return the weighted loss instead of logits.

The head is used *inside* the model's own forward, so that whatever wraps it (DDP, FSDP, PEFT, autocast,
offloading) has its weights in place, as for any other layer.
"""

import functools
from typing import Any

import torch
from torch import Tensor

from mindgap_data.errors import UserError
from mindgap_data.policy.head import causal_lm_of, check_head, final_hidden_states, head_of
from mindgap_loss.loss import LossOutput, log_probs, weighted_nll
from mindgap_loss.options import LossOptions
from mindgap_loss.weights import TokenFields, weigh

PROBE_TOKENS = 8


class MicroBatch:
    """Targets and fields of one micro-batch on their way into the forward, and the result on its way back.

    Deliberately neither a tensor nor a dataclass: wrappers cast those to the model's dtype on the way in.

    Attributes:
        predicts: bool [B, L-1], the positions whose hidden state predicts a trained token.
        targets: int64 [N], those tokens, in row-major order.
        fields: of the same N tokens.
        denominator: trained tokens of the global batch; None for those of this micro-batch.
        output: what the forward found.
    """

    def __init__(self, labels: Tensor, columns: dict[str, Tensor], denominator: Tensor | float | None) -> None:
        """Take apart what the collator made.

        Args:
            labels: int64 [B, L], -100 where not trained.
            columns: ``collators.BATCH_COLUMNS``, each [B, L].
            denominator: see the class.
        """
        following = labels[:, 1:]
        self.predicts = following != -100
        self.targets = following[self.predicts]
        chosen = {name: column[:, 1:][self.predicts] for name, column in columns.items()}
        self.fields = TokenFields(
            tier=chosen["tier"],
            behavior=chosen["behavior_logprobs"].view(torch.float32),
            policy=chosen["policy_logprobs"].view(torch.float32),
            sample=chosen["sample"],
        )
        self.denominator = denominator
        self.output: LossOutput | None = None


def teach_loss(model: Any, options: LossOptions) -> None:
    """Let the causal LM inside ``model`` answer ``forward(..., mindgap=MicroBatch)`` with {"loss": ...}.

    In training the loss is the weighted one, in evaluation the plain NLL. Calls without ``mindgap`` (generation,
    other callbacks) go to the model's own forward.

    Raises:
        UserError: the model's logits are not what its head says, or its forward adds a loss of its own.
    """
    causal_lm = causal_lm_of(model)
    if getattr(causal_lm.config, "output_router_logits", False):
        raise UserError(
            f"{type(causal_lm).__name__} adds a router loss (output_router_logits: true), which the weighted loss "
            "would leave out; set output_router_logits: false in overrides_of_model_config"
        )
    own_forward = causal_lm.forward

    @functools.wraps(own_forward)
    def forward(*args: Any, mindgap: MicroBatch | None = None, **kwargs: Any) -> Any:
        if mindgap is None:
            return own_forward(*args, **kwargs)
        return {"loss": _loss(causal_lm, mindgap, options, kwargs)}

    causal_lm.forward = forward


def _loss(causal_lm: Any, batch: MicroBatch, options: LossOptions, inputs: dict[str, Any]) -> Tensor:
    own = ("labels", "num_items_in_batch", "logits_to_keep", "use_cache", "return_dict")
    inputs = {name: value for name, value in inputs.items() if value is not None and name not in own}
    hidden = causal_lm.base_model(**inputs, use_cache=False, return_dict=True).last_hidden_state
    hidden = hidden[:, :-1][batch.predicts]
    denominator = max(len(batch.fields), 1) if batch.denominator is None else batch.denominator
    head = head_of(causal_lm)
    if causal_lm.training:
        batch.output = weighted_nll(hidden, head, batch.targets, batch.fields, options, denominator)
    else:
        found = log_probs(hidden, head, batch.targets, options.chunk_tokens)
        weighed = weigh(found, batch.fields, options)
        batch.output = LossOutput(-found.sum() / denominator, found, weighed.log_weights, weighed.weights)
    return batch.output.loss


def probe_head(model: Any) -> None:
    """Compare the head with the model's own logits on a few tokens: a loss on the wrong logits must not be trained.

    Only for a model whose weights are whole on this process (not FSDP, not ZeRO-3).

    Raises:
        UserError: they differ.
    """
    causal_lm = causal_lm_of(model)
    ids = torch.arange(PROBE_TOKENS, device=causal_lm.get_input_embeddings().weight.device)[None]
    training = causal_lm.training
    causal_lm.eval()
    try:
        with torch.no_grad():
            hidden, own_logits = final_hidden_states(causal_lm, input_ids=ids, use_cache=False)
            check_head(causal_lm, head_of(causal_lm), hidden[:, -1], own_logits)
    finally:
        causal_lm.train(training)
