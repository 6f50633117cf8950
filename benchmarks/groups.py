"""A batch without most of its padding: linear layers over length groups laid end to end, attention per group.

The examples of a batch are sorted by length and cut into groups, each padded to its own longest. Before the model's
first layer the groups are laid end to end, (batch, length, hidden) to (1, tokens, hidden), so every linear layer,
normalisation and dropout runs once over little but words; attention takes each group as it lies, a view without a
copy; after the last layer each example's first token, which is what classification heads read, goes back to its row.
Same members, same loss, same gradient, to rounding. On RTE with MiniLM-L6 8 groups hold 3 % padding where one
padding holds half, and a step takes half of what four micro-batches take (LOG.md).

Nothing here names an architecture: transformers hands every attention call to an interface of its own, and the layers
are found by `theseus`. A model whose layers take more than hidden states and a mask (rotary positions), or whose head
reads another token, gives other logits this way; `fits` finds out, and such a model trains with plain padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from benchmarks.cuts import cut
from benchmarks.dropout import MaskStream

NAME = "length-groups"  # of the attention implementation


@dataclass(frozen=True)
class Layout:
    """How a padded batch (examples sorted by length) lies end to end.

    `groups`: examples, length and additive key mask (examples, 1, length) or None of each. `tokens`: where each token
    of the groups lies in the flat padded batch. `first`: where each example's first token lies among them (examples,).
    """

    groups: tuple[tuple[int, int, torch.Tensor | None], ...]
    tokens: torch.Tensor
    first: torch.Tensor


def onto(tensor: torch.Tensor, device: str) -> torch.Tensor:
    """A CPU tensor on `device`. To a GPU from pinned memory, because `.to` from any other waits until the GPU has done
    all it was given, once per tensor and step."""
    if not device.startswith("cuda"):
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def lay_out(lengths: torch.Tensor, sizes: list[int], device: str) -> Layout:
    """The layout of examples of these `lengths` (examples,), ascending, in groups of these `sizes`."""
    longest = int(lengths[-1])
    groups, tokens, first, start = [], [], [], 0
    for rows, part in zip(torch.arange(len(lengths)).split(sizes), lengths.split(sizes), strict=True):
        examples, length = len(part), int(part[-1])
        mask = None
        if int(part[0]) < length:
            padding = torch.arange(length) >= part[:, None, None]
            mask = onto(torch.zeros(padding.shape).masked_fill(padding, torch.finfo(torch.bfloat16).min), device)
        groups.append((examples, length, mask))
        tokens.append((rows[:, None] * longest + torch.arange(length)).flatten())
        first.append(start + length * torch.arange(examples))
        start += examples * length
    return Layout(tuple(groups), onto(torch.cat(tokens), device), onto(torch.cat(first), device))


@dataclass
class _Open:
    """What the hooks and the attention of this process see: the layout of the forward pass under way, if any."""

    layout: Layout | None = None
    masks: MaskStream | None = None


_open = _Open()


def _attention(
    module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any,
    scaling: float | None = None, dropout: float = 0.0, **_: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """transformers' attention call on (1, heads, tokens, width); gives (1, tokens, heads, width)."""
    assert _open.layout is not None
    groups = _open.layout.groups
    heads, _tokens, width = query.shape[1:]
    scale = width**-0.5 if scaling is None else scaling
    sizes = [examples * length for examples, length, _ in groups]
    found = []
    # split, not slices: its backward pass is one cat, theirs a tensor of zeros and an addition for each
    parts = zip(*(states.squeeze(0).split(sizes, dim=1) for states in (query * scale, key, value)), strict=True)
    for (examples, length, bias), qkv in zip(groups, parts, strict=True):
        q, k, v = (states.view(heads, examples, length, width) for states in qkv)
        attended = _attend(q, k, v, bias, dropout).reshape(heads, examples * length, width)
        found.append(attended.transpose(0, 1))  # so that cat writes them as the next linear layer reads them
    return torch.cat(found)[None], None


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor | None, rate: float
) -> torch.Tensor:
    """Attention of one group, (heads, examples, length, width), of a `query` already scaled. On a CPU, torch's fused
    kernel has no dropout, and what it falls back to computes in float32: there, with dropout, the four operations one
    by one."""
    if not rate or query.device.type != "cpu" or _open.masks is None:
        mask = None if bias is None else bias.to(query.dtype)
        return F.scaled_dot_product_attention(query, key, value, mask, dropout_p=rate, scale=1.0)
    flat = [states.flatten(0, 1) for states in (query, key, value)]
    scores = torch.bmm(flat[0], flat[1].transpose(1, 2)).view(*query.shape[:3], query.shape[2])
    if bias is not None:
        scores += bias.to(scores.dtype)
    shares = _open.masks.drop(scores.softmax(-1), rate)
    return torch.bmm(shares.flatten(0, 1), flat[2]).view_as(query)


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, lambda *_, **__: None)  # each group brings its own


def _enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if _open.layout is None:
        return args, kwargs
    states = args[0]
    return (states.flatten(0, 1)[_open.layout.tokens][None], *args[1:]), kwargs


def _leave(_: nn.Module, __: Any, output: Any) -> Any:
    if _open.layout is None:
        return output
    states = output[0] if isinstance(output, tuple) else output
    first = states[0, _open.layout.first][:, None]
    return (first, *output[1:]) if isinstance(output, tuple) else first


class LengthGroups:
    """Runs the forward passes of `model` over length groups. `stack`: its layers, as they are called.

    `count`: the most groups of a batch; 1 pads to the batch's longest, as usual.
    """

    def __init__(self, model: nn.Module, stack: nn.ModuleList, count: int, masks: MaskStream) -> None:
        self.count, self.masks = count, masks
        # Copies of a layer carry copies of the config, and each attention reads its own.
        configs: dict[int, Any] = {
            id(module.config): module.config for module in model.modules() if hasattr(module, "config")
        }
        self._configs = [(config, config._attn_implementation) for config in configs.values()]
        self._hooks = [
            stack[0].register_forward_pre_hook(_enter, with_kwargs=True),
            stack[-1].register_forward_hook(_leave),
        ]
        self.fits = count > 1 and self._agrees(model)

    def close(self) -> None:
        """Leave the model as it was."""
        for hook in self._hooks:
            hook.remove()

    @contextmanager
    def over(self, layout: Layout | None) -> Iterator[None]:
        """Forward passes inside run over `layout`; None: as the model does by itself."""
        if layout is None:
            yield
            return
        _open.layout, _open.masks = layout, self.masks
        for config, _ in self._configs:
            config._attn_implementation = NAME
        try:
            yield
        finally:
            _open.layout = _open.masks = None
            for config, own in self._configs:
                config._attn_implementation = own

    def layout(self, lengths: torch.Tensor, device: str) -> Layout | None:
        """For examples of these `lengths`, ascending; None where the model runs with plain padding."""
        return lay_out(lengths, cut(lengths, self.count), device) if self.fits else None

    @torch.no_grad()
    def _agrees(self, model: nn.Module) -> bool:
        """Are the logits of three short examples in two groups, one of them padded, the same both ways in eval mode?"""
        device = str(next(model.parameters()).device)
        whole: Any = next(module for module in model.modules() if isinstance(module, PreTrainedModel))
        lengths = torch.tensor([3, 5, 6])
        mask = (torch.arange(6) < lengths[:, None]).long().to(device)
        ids = (torch.arange(18).view(3, 6) % min(18, whole.config.vocab_size)).to(device)
        training = model.training
        model.eval()
        try:
            expected = model(input_ids=ids, attention_mask=mask).logits
            with self.over(lay_out(lengths, [1, 2], device)):
                found = model(input_ids=ids, attention_mask=mask).logits
        except (TypeError, ValueError, RuntimeError, IndexError):
            return False
        finally:
            model.train(training)
        return found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-3, atol=1e-3)
