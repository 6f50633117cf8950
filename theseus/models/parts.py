"""The parts of a model: what runs before its blocks ("embeddings"), the blocks ("layers"), what runs after ("head").

The order in which a model registers its modules does not tell: XLM-R registers its classifier first, OPT its final
norm before the layers. So the model runs once, with the output of its last block cut off from what comes before: the
weights on which the result still depends are the head. Where it cannot run, what is outside the base model is the head.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

from theseus.models.blocks import find_blocks
from theseus.models.outputs import hidden_of, with_hidden
from theseus.models.probing import outermost, small_input, tensors, undisturbed

Part = Literal["embeddings", "layers", "head"]
PARTS: tuple[Part, ...] = ("embeddings", "layers", "head")
Parts = dict[Part, list[nn.Parameter]]


def parameters_by_part(model: nn.Module, stack: str | None = None) -> Parts:
    """The parameters before the model's blocks ("embeddings"), in them ("layers") and after them ("head"). `stack`
    names the blocks where the model has several stacks."""
    return parameters_around(model, find_blocks(model, stack).layers)


def parameters_around(model: nn.Module, stack: nn.ModuleList) -> Parts:
    """The same for a given stack, in the order of `model.parameters()`."""
    inside = {id(parameter) for parameter in stack.parameters()}
    head = _head(model, stack, inside)
    parts: Parts = {part: [] for part in PARTS}
    for parameter in model.parameters():
        outside: Part = "head" if id(parameter) in head else "embeddings"
        parts["layers" if id(parameter) in inside else outside].append(parameter)
    return parts


def _head(model: nn.Module, stack: nn.ModuleList, inside: set[int]) -> set[int]:
    path = next(name for name, module in model.named_modules() if module is stack)
    _, root = outermost(model, path)
    base = {id(parameter) for parameter in getattr(root, "base_model", root).parameters()}
    later: set[int] = set()
    after_stack = False
    for parameter in model.parameters():
        after_stack |= id(parameter) in inside
        if id(parameter) not in inside and (after_stack or id(parameter) not in base):
            later.add(id(parameter))
    try:
        runs = _Runs(root, stack, inside)
        used, after = runs.used(cut=False), runs.used(cut=True)
    except Exception:  # any that a model raises for an input that is not its own: the rule without a run stands
        return later
    return (later - used | after) - runs.before


class _Runs:
    """Forward passes of a model. `before`: the weights of modules that were done before the last block was. They are
    not the head even if the result depends on them otherwise: the embeddings of a language model may be its output
    weights too, and a second tower may stand beside the stack."""

    def __init__(self, root: Any, stack: nn.ModuleList, inside: set[int]) -> None:
        self.root, self.last = root, stack[-1]
        self.given = small_input(root)
        floating = {name: p for name, p in root.named_parameters() if p.is_floating_point()}
        self.outside = {name: p for name, p in floating.items() if id(p) not in inside}
        self.before: set[int] = set()

    def used(self, cut: bool) -> set[int]:
        """The parameters outside the stack that the result depends on. `cut`: not through the last block's output."""
        leaves = {name: parameter.detach().requires_grad_() for name, parameter in self.outside.items()}
        ids = {id(leaves[name]): id(self.outside[name]) for name in leaves}
        with self._watched(cut, ids), undisturbed(self.root), torch.enable_grad():
            found = tensors(torch.func.functional_call(self.root, leaves, kwargs=self.given))
            total = torch.stack([value.float().sum() for value in found.values() if value.requires_grad]).sum()
            gradients = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        reached: list[torch.Tensor | None] = list(gradients)
        return {id(self.outside[name]) for name, gradient in zip(leaves, reached, strict=True) if gradient is not None}

    @contextmanager
    def _watched(self, cut: bool, ids: dict[int, int]) -> Iterator[None]:
        """Collects `before`, and with `cut` lets the last block return a leaf. Its `forward` is exchanged, because
        SqueezeBERT calls that of its layers directly, so hooks on them never run."""
        done, own = self.last.forward, vars(self.last).get("forward")
        passed: list[bool] = []

        def forward(*args: Any, **kwargs: Any) -> Any:
            output = done(*args, **kwargs)
            passed.append(True)
            return with_hidden(output, hidden_of(output).detach().requires_grad_()) if cut else output

        def note(module: nn.Module, *_: Any) -> None:
            if not passed:
                self.before |= {ids.get(id(parameter), 0) for parameter in module.parameters(recurse=False)}

        hooks = [module.register_forward_hook(note) for module in self.root.modules()]
        self.last.forward = forward
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            if own is None:
                del self.last.forward
            else:
                self.last.forward = own
