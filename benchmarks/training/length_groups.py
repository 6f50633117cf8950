"""A batch without most of its padding: linear layers over length groups laid end to end, attention per group.

The examples of a batch are sorted by length and cut into groups, each padded to its own longest. Before the model's
first layer the groups are laid end to end, (batch, length, hidden) to (1, tokens, hidden), so every linear layer,
normalisation and dropout runs once over little but words; attention takes each group as it lies, a view without a
copy; after the last layer each example's first token, which is what classification heads read, goes back to its row,
or every token goes back to its place where the head labels tokens. Members, loss and gradient are the same, to
rounding. On RTE with MiniLM-L6, 8 groups hold 3 % padding where one group holds half, and a step takes half the time of
four micro-batches (LOG.md).

The code names no architecture: transformers passes every attention call to a registered function, and `theseus` finds
the layers. A model whose layers take more than hidden states and a mask (rotary positions), or whose head reads another
token, gives other logits this way; `fits` detects it, and such a model trains with plain padding. So does one that
reads the texts of an example separately: its rows are not the batch's.
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

from baselines.method import Objective
from benchmarks.tasks.tokens import onto
from benchmarks.training.cuts import cut
from benchmarks.training.dropout import MaskStream

NAME = "length-groups"  # of the attention implementation


@dataclass(frozen=True)
class Layout:
    """How a padded batch (examples sorted by length) lies end to end.

    `groups`: of each its number of examples, its length, and its additive key mask (examples, 1, length) or None.
    `tokens`: the index of each token of the groups in the flat padded batch. `first` (examples,): the index of each
    example's first token among `tokens`.
    """

    groups: tuple[tuple[int, int, torch.Tensor | None], ...]
    tokens: torch.Tensor
    first: torch.Tensor

    def padded(self, states: torch.Tensor) -> torch.Tensor:
        """The states (tokens, hidden) as a padded batch (examples, longest, hidden), zeros where no group reaches."""
        examples, longest = len(self.first), self.groups[-1][1]
        flat = states.new_zeros(examples * longest, states.shape[-1]).index_copy(0, self.tokens, states)
        return flat.view(examples, longest, -1)


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
    """The layout of the current forward pass, if any, for the hooks and the attention function.

    It is global, because transformers calls attention through a registry of functions. A worker takes one forward pass
    at a time, and `LengthGroups.over` sets and clears the layout around each.
    """

    layout: Layout | None = None
    masks: MaskStream | None = None
    per_token: bool = False


_open = _Open()


def _attention(
    module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any,
    scaling: float | None = None, dropout: float = 0.0, **_: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """transformers' attention call on (1, heads, tokens, width); returns (1, tokens, heads, width).

    A token attends to the tokens of its own example only. The groups lie one after the other along the token axis, and
    the examples of a group have one length, so a group's slice can be viewed as (heads, examples, length, width), the
    shape of attention over a padded batch. Attention runs over each group by itself, and the results are laid end to
    end again. Softmax runs over keys of one example, so grouping changes no score: it only leaves out padding. Keys
    that are padding inside a group get the most negative bfloat16 as bias, so their share after softmax is 0.
    """
    assert _open.layout is not None
    groups = _open.layout.groups
    heads, _tokens, width = query.shape[1:]
    scale = width**-0.5 if scaling is None else scaling
    sizes = [examples * length for examples, length, _ in groups]
    found = []
    # split, not slices: its backward pass is one cat, but that of each slice makes a tensor of zeros and adds it
    parts = zip(*(states.squeeze(0).split(sizes, dim=1) for states in (query * scale, key, value)), strict=True)
    for (examples, length, bias), qkv in zip(groups, parts, strict=True):
        q, k, v = (states.view(heads, examples, length, width) for states in qkv)
        attended = _attend(q, k, v, bias, dropout).reshape(heads, examples * length, width)
        found.append(attended.transpose(0, 1))  # cat then writes the order that the next linear layer reads
    return torch.cat(found)[None], None


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor | None, rate: float
) -> torch.Tensor:
    """Attention of one group, (heads, examples, length, width); `query` is already scaled. On a CPU, torch's fused
    kernel has no dropout, and its fallback computes in float32, so with dropout the four operations run one by one."""
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
AttentionMaskInterface.register(NAME, lambda *_, **__: None)  # each group has its own mask


def _enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if _open.layout is None:
        return args, kwargs
    states = args[0]
    return (states.flatten(0, 1)[_open.layout.tokens][None], *args[1:]), kwargs


def _leave(_: nn.Module, __: Any, output: Any) -> Any:
    if _open.layout is None:
        return output
    states = output[0] if isinstance(output, tuple) else output
    left = _open.layout.padded(states[0]) if _open.per_token else states[0, _open.layout.first][:, None]
    return (left, *output[1:]) if isinstance(output, tuple) else left


class LengthGroups:
    """Runs the forward passes of `model` over length groups. `stack`: its layers in call order.

    `count`: the most groups of a batch; 1 pads to the batch's longest, as usual.
    """

    def __init__(
        self, model: nn.Module, stack: nn.ModuleList, count: int, masks: MaskStream,
        objective: Objective,
    ) -> None:  # fmt: skip
        self.count, self.masks, self.objective = count, masks, objective
        # A copy of a layer has its own copy of the config, and its attention reads that one.
        configs: dict[int, Any] = {
            id(module.config): module.config for module in model.modules() if hasattr(module, "config")
        }
        self._configs = [(config, config._attn_implementation) for config in configs.values()]
        self._hooks = [
            stack[0].register_forward_pre_hook(_enter, with_kwargs=True),
            stack[-1].register_forward_hook(_leave),
        ]
        self.fits = count > 1 and not objective.separate and self._agrees(model)

    def close(self) -> None:
        """Remove the hooks; the model is then as before."""
        for hook in self._hooks:
            hook.remove()

    @contextmanager
    def over(self, layout: Layout | None) -> Iterator[None]:
        """Forward passes inside run over `layout`; with None the model runs as usual."""
        if layout is None:
            yield
            return
        _open.layout, _open.masks, _open.per_token = layout, self.masks, self.objective.per_token
        for config, _ in self._configs:
            config._attn_implementation = NAME
        try:
            yield
        finally:
            _open.layout = _open.masks = None
            for config, own in self._configs:
                config._attn_implementation = own

    def layout(self, lengths: torch.Tensor, device: str) -> Layout | None:
        """The layout for examples of these `lengths`, ascending; None if the model runs with plain padding."""
        return lay_out(lengths, cut(lengths, self.count), device) if self.fits else None

    @torch.no_grad()
    def _agrees(self, model: nn.Module) -> bool:
        """Whether three short examples give the same logits in eval mode with and without two groups, one padded."""
        device = str(next(model.parameters()).device)
        whole: Any = next(module for module in model.modules() if isinstance(module, PreTrainedModel))
        lengths = torch.tensor([3, 5, 6])
        mask = (torch.arange(6) < lengths[:, None]).long().to(device)
        ids = (torch.arange(18).view(3, 6) % min(18, whole.config.vocab_size)).to(device)
        training = model.training
        model.eval()
        try:
            expected = self._logits(model, ids, mask)
            with self.over(lay_out(lengths, [1, 2], device)):
                found = self._logits(model, ids, mask)
        except (TypeError, ValueError, RuntimeError, IndexError):
            return False
        finally:
            model.train(training)
        return found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-3, atol=1e-3)

    def _logits(self, model: nn.Module, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Of every example, or of every token that is not padding."""
        logits = self.objective.logits(model(input_ids=ids, attention_mask=mask))
        return logits[mask.bool()] if self.objective.per_token else logits
