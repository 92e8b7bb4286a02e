"""A model of which every response can be listed: three tokens, four of them a response."""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

VOCABULARY, LENGTH = 3, 4
SEQUENCES = torch.tensor(list(itertools.product(range(VOCABULARY), repeat=LENGTH)))  # [81, 4]


@dataclass
class Model:
    """An autoregressive model over three tokens: the state is a table by the last two tokens."""

    table: Tensor  # [4, 4, H]
    weight: Tensor  # [3, H]

    @classmethod
    def random(cls, seed: int) -> "Model":
        generator = torch.Generator().manual_seed(seed)
        table, weight = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((4, 4, 5), (3, 5)))
        return cls(table.requires_grad_(), weight.requires_grad_())

    def states(self, sequences: Tensor) -> Tensor:
        """[S, T, H] state that predicts each token."""
        past = torch.nn.functional.pad(sequences, (2, 0), value=VOCABULARY)
        return self.table[past[:, :-2], past[:, 1:-1]]

    def log_probs(self) -> Tensor:
        """[81, 4] of every sequence."""
        p = (self.states(SEQUENCES) @ self.weight.T).log_softmax(-1)
        return p.gather(-1, SEQUENCES[..., None])[..., 0]

    def gradient(self, loss: Tensor) -> Tensor:
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, (self.table, self.weight))])
