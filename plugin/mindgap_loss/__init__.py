"""mindgap_loss: importance-weighted supervised fine-tuning in plain torch, for any trainer.

from mindgap_loss import LossOptions, TokenFields, final_hidden_states, head_of, weighted_nll

hidden, _ = final_hidden_states(model, input_ids=ids, attention_mask=mask)
output = weighted_nll(hidden[:, :-1][trained], head_of(model), targets, fields, LossOptions(), tokens_in_batch)
output.loss.backward()
"""

from mindgap_data.policy.head import Head, check_head, final_hidden_states, head_of
from mindgap_loss.loss import LossOutput, log_probs, weighted_nll
from mindgap_loss.options import LossOptions
from mindgap_loss.weights import TokenFields

__all__ = [
    "Head",
    "LossOptions",
    "LossOutput",
    "TokenFields",
    "check_head",
    "final_hidden_states",
    "head_of",
    "log_probs",
    "weighted_nll",
]
