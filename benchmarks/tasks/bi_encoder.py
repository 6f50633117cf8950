"""A bi-encoder: one encoder that reads each text of a pair by itself; the answer is the cosine of the two vectors.

    pairs = BiEncoder(AutoModel.from_pretrained(folder), "mean")
    pairs(**inputs).logits                                       # (batch, 1), from -1 to 1

The two texts of a pair lie one after the other in one row of the batch, each with its own special tokens, and
`token_type_ids` tells them apart (0 and 1). So the runner handles a pair as one example. The model itself sees each
text alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from baselines.parts.losses import full_precision
from benchmarks.base.errors import SuiteError
from benchmarks.tasks.pooling import write

Inputs = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Spans:
    """Where the texts of a batch of pairs lie in their rows: `starts` and `lengths`, (batch, 2) each."""

    starts: torch.Tensor
    lengths: torch.Tensor

    @classmethod
    def of(cls, inputs: Inputs) -> Spans:
        """Without `token_type_ids` (made-up inputs) a row is divided in the middle."""
        mask, types = inputs["attention_mask"], inputs.get("token_type_ids")
        whole = mask.sum(1)
        first = (whole + 1) // 2 if types is None else (mask * (types == 0)).sum(1)
        return cls(torch.stack([torch.zeros_like(first), first], 1), torch.stack([first, whole - first], 1))

    def apart(self, ids: torch.Tensor, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids (batch, length) as a padded batch of texts (2 * batch, longest text), the two of a pair one after
        the other, and its mask."""
        position = torch.arange(int(self.lengths.max()), device=ids.device)
        mask = position < self.lengths[..., None]
        place = (self.starts[..., None] + position).clamp(max=ids.shape[1] - 1)
        found = ids[:, None].expand(-1, 2, -1).gather(2, place).masked_fill(~mask, pad)
        return found.flatten(0, 1), mask.flatten(0, 1).long()

    def together(self, states: torch.Tensor, length: int) -> torch.Tensor:
        """States (2 * batch, longest text, hidden) back in the rows of their pairs, (batch, length, hidden); what lies
        in the padding has no meaning."""
        pairs, longest = len(self.starts), states.shape[1]
        position = torch.arange(length, device=states.device).expand(pairs, -1)
        second = (position >= self.starts[:, 1:]).long()
        place = (position - second * self.starts[:, 1:]).clamp(max=longest - 1) + second * longest
        flat = states.reshape(pairs, 2 * longest, -1)
        return flat.gather(1, place[..., None].expand(-1, -1, flat.shape[-1]))


Pool = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    words = mask[..., None].to(states.dtype)
    return (states * words).sum(1) / words.sum(1).clamp(min=1)


POOLINGS: dict[str, Pool] = {
    "mean": _mean,
    "cls": lambda states, _: states[:, 0],
    "lasttoken": lambda states, mask: states[torch.arange(len(mask), device=mask.device), mask.sum(1) - 1],
}


@dataclass(frozen=True)
class Compared:
    """`logits` (batch, 1): the cosines. `embeddings` (batch, 2, hidden): the vectors of the two texts. `hidden_states`:
    those of each layer as the encoder gives them, but in the rows of the pairs."""

    logits: torch.Tensor
    embeddings: torch.Tensor
    hidden_states: tuple[torch.Tensor, ...] | None


class BiEncoder(nn.Module):
    """Wraps a transformers model without a head. It adds no weights, so what it saves is that model, in a folder that
    transformers and sentence-transformers can read."""

    def __init__(self, encoder: Any, pooling: str) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise SuiteError(f"the encoder pools its tokens by {pooling}, and only {', '.join(POOLINGS)} are known")
        self.encoder = encoder
        self.pooling = pooling
        self.train(encoder.training)

    @property
    def config(self) -> Any:
        """That of the encoder."""
        return self.encoder.config

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> Compared:  # fmt: skip
        """All arguments are (batch, length)."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        spans = Spans.of({"attention_mask": attention_mask, **types})
        ids, mask = spans.apart(input_ids, self.config.pad_token_id or 0)
        found = self.encoder(input_ids=ids, attention_mask=mask, output_hidden_states=output_hidden_states)
        pooled = POOLINGS[self.pooling](full_precision(found.last_hidden_state), mask)
        vectors = pooled.unflatten(0, (-1, 2))
        states = found.hidden_states if output_hidden_states else None
        return Compared(
            logits=F.cosine_similarity(vectors[:, 0], vectors[:, 1], dim=-1)[:, None],
            embeddings=vectors,
            hidden_states=states and tuple(spans.together(layer, input_ids.shape[1]) for layer in states),
        )

    def save_pretrained(self, folder: str | Path) -> None:
        """Save the encoder, and how it pools."""
        self.encoder.save_pretrained(folder)
        write(Path(folder), self.pooling, self.config.hidden_size)
