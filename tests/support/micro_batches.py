"""A micro-batch as the collators make it, of random tokens."""

import torch


def batch_of(rows: int = 3, length: int = 12, seed: int = 0) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Model inputs with labels on the last positions, and the columns of the collator."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 256, (rows, length), generator=generator)
    labels = ids.clone()
    for row in range(rows):
        labels[row, : 3 + row] = -100
    columns = {
        "tier": (torch.arange(rows) % 3)[:, None].expand(rows, length),
        "sample": torch.arange(rows)[:, None].expand(rows, length),
        "behavior_logprobs": (-4 * torch.rand(rows, length, generator=generator)).view(torch.int32),
        "policy_logprobs": (-4 * torch.rand(rows, length, generator=generator)).view(torch.int32),
        "pass_rate": torch.ones(rows, length).view(torch.int32),
    }
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}, columns
