"""The output head with whole tensors, where FSDP2 or DeepSpeed ZeRO-3 holds a part of each on every rank."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

from torch import Tensor

from mindgap_data.errors import UserError
from mindgap_data.policy.head import Head


@contextmanager
def gathered(head: Head) -> Iterator[Head]:
    """The head with whole tensors, for as long as the context lasts.

    Gradients of gathered FSDP2 parameters are averaged over the mesh, as FSDP2 does itself. Under
    ZeRO-3 the head must be frozen: its gradients would by-pass DeepSpeed's partitioning.

    Raises:
        UserError: a trained head under ZeRO-3.
    """
    context: Any = nullcontext()
    if any(hasattr(t, "ds_id") for t in head.tensors()):
        if any(t.requires_grad for t in head.tensors()):
            raise UserError(
                "a trained output head (full fine-tuning, LoRA or modules_to_save on lm_head) does not work under "
                "DeepSpeed ZeRO-3; freeze the head, or use FSDP2 or ZeRO-2"
            )
        import deepspeed

        context = deepspeed.zero.GatheredParameters(head.tensors())
    with context:
        adapters = tuple(
            replace(a, down=_whole(a.down), up=_whole(a.up), bias=None if a.bias is None else _whole(a.bias))
            for a in head.adapters
        )
        bias = None if head.bias is None else _whole(head.bias)
        yield replace(head, weight=_whole(head.weight), bias=bias, adapters=adapters)


def _whole(tensor: Tensor) -> Tensor:
    """The tensor itself, or all of a DTensor, whose gradient goes back to the shards averaged."""
    from torch.distributed.tensor import DTensor, Partial

    if not isinstance(tensor, DTensor):
        return tensor
    mesh = tensor.device_mesh
    full: Tensor = tensor.full_tensor(grad_placements=[Partial()] * mesh.ndim)
    if full.requires_grad:
        # Not Partial("avg"): gloo cannot average while it reduces.
        full.register_hook(lambda grad: grad / mesh.size())
    return full
