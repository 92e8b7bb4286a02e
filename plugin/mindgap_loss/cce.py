"""The loss by Cut Cross-Entropy (arXiv 2411.09009), whose kernels find log-probs and gradients without logits."""

from importlib.util import find_spec

import torch
from torch import Tensor

from mindgap_data.errors import UserError
from mindgap_data.policy.head import Head
from mindgap_loss.chunks import product_dtype

# As Axolotl 0.21 documents it.
INSTALL = (
    "pip uninstall -y cut-cross-entropy && pip install 'cut-cross-entropy[transformers] @ "
    "git+https://github.com/axolotl-ai-cloud/ml-cross-entropy.git@v0.1.1'"
)


def check_installed() -> None:
    """Refuse ``kernel: cce`` where the package is missing.

    Raises:
        UserError: it is.
    """
    if find_spec("cut_cross_entropy") is None:
        raise UserError(f"kernel: cce needs the package cut_cross_entropy; use kernel: torch, or run: {INSTALL}")


def check_supported(head: Head) -> None:
    """Refuse a head whose logits are not softcap(h W^T + bias), or whose weight is gone before backward.

    Raises:
        UserError: naming what the head has.
    """
    if head.adapters:
        raise UserError(
            "kernel: cce cannot train an adapter on lm_head; use kernel: torch, or take lm_head out of "
            "lora_target_modules"
        )
    if head.scale != 1:
        raise UserError(
            f"kernel: cce cannot scale logits, and this model's are scaled by {head.scale:g}; use kernel: torch"
        )
    if any(hasattr(t, "ds_id") for t in head.tensors()):
        raise UserError(
            "kernel: cce does not work under DeepSpeed ZeRO-3, which has parted the head again by the backward pass; "
            "use kernel: torch"
        )


def log_probs(hidden: Tensor, head: Head, targets: Tensor) -> Tensor:
    """p_t = log pi(y_t) of N >= 1 tokens, with gradient.

    The gradient lacks what CCE filters out: entries of softmax - onehot below 1/32 of an ulp of 1 in the
    products' dtype (2.4e-4 in bfloat16), where a whole block is below. On a CPU, for tests, the package
    has an implementation that holds full logits.

    Args:
        hidden: [N, H].
        head: with whole tensors.
        targets: int64 [N].

    Returns:
        float32 [N].

    Raises:
        UserError: the package is missing, or the head is one that it cannot compute.
    """
    check_installed()
    check_supported(head)
    from cut_cross_entropy import linear_cross_entropy

    dtype, bias = product_dtype(hidden, head.weight), head.total_bias()
    with torch.autocast(hidden.device.type, enabled=False):
        nll: Tensor = linear_cross_entropy(
            hidden.to(dtype),
            head.weight.to(dtype),
            targets,
            softcap=head.softcap,
            reduction="none",
            impl="cce" if hidden.is_cuda else "torch_compile",
            **({} if bias is None else {"bias": bias.to(dtype)}),  # the package of PyPI knows none
        )
    return -nll
