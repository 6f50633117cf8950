"""One replaceable module: n consecutive predecessor layers and the one successor layer that replaces them.

The gates depend on no architecture: the model's ModuleList of layers is exchanged for one of gated modules, and the
model calls each of them exactly as it called a layer, so masks, position ids and all other arguments reach the layers
unchanged. Two kinds of models need more. Where layers differ in kind (local and global attention), the model gives each
another mask: the stack then keeps its length, and a `Slot` before a gated module takes note of what a layer is given.
Where the first layer hands a position bias on to the others (T5), the gated module does so too.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn

from theseus.models.outputs import hidden_of, unrecorded, with_hidden

Given = tuple[tuple[Any, ...], dict[str, Any]]

# Arguments that a layer computes if it gets None, and their place in its output.
HANDED_ON = {"position_bias": 1, "encoder_decoder_position_bias": 2}
NOT_TAKEN_OVER = ("training", "gradient_checkpointing")


def _look_like(module: nn.Module, layer: nn.Module) -> None:
    """Take over the plain attributes of a layer: a model may read from it which mask it needs."""
    for name, value in vars(layer).items():
        if isinstance(value, bool | int | float | str) and name not in (*NOT_TAKEN_OVER, *vars(module)):
            setattr(module, name, value)


def _setters(layer: nn.Module) -> list[str]:
    """Methods that a model may call on all its layers (BigBird, to change their attention)."""
    named = (name for name in dir(type(layer)) if name.startswith("set_") and not hasattr(nn.Module, name))
    return [name for name in named if callable(getattr(layer, name))]


def _set_all(module: GatedModule, name: str, *args: Any, **kwargs: Any) -> None:
    for layer in (*module.predecessor, module.successor):
        getattr(layer, name)(*args, **kwargs)


class Slot(nn.Module):
    """The place of a predecessor layer that is not the last of its module. It notes the arguments of the layer, which
    the module uses, and returns the hidden states as they are."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.given: Given = ((), {})
        _look_like(self, layer)

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.given = (args, kwargs)
        return hidden_states


class GatedModule(nn.Module):
    """n consecutive predecessor layers and the one successor layer that replaces them.

    `share` is the successor's part of the output in training: 1 if the module is replaced, 0 if not; a value in between
    blends both. At 0 and 1 only one branch runs. An undrawn module's successor layer then gets no gradient, but its
    frozen predecessor layers still pass gradients down to successor layers below them. `last`: no replaceable module
    comes after this one. `slots`: those of all predecessor layers but the last, where layers differ in kind; the
    successor layer gets the arguments of the layer at `kind`.
    """

    def __init__(
        self,
        predecessor: Sequence[nn.Module],
        successor: nn.Module,
        last: bool,
        slots: Sequence[Slot] = (),
        kind: int = -1,
    ) -> None:
        super().__init__()
        self.predecessor = nn.ModuleList(predecessor)
        self.successor = successor
        self.share = 1.0
        self.last = last
        self._slots, self._kind = list(slots), kind
        names = list(inspect.signature(predecessor[0].forward).parameters)[1:]
        self._handed_on = {name: names.index(name) for name in HANDED_ON if name in names}
        _look_like(self, predecessor[-1])
        for name in _setters(successor):
            setattr(self, name, partial(_set_all, self, name))

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """The model calls this as it calls a layer; `hidden_states` is (batch, length, hidden)."""
        given = [*(slot.given for slot in self._slots), (args, kwargs)]
        if self.share == 1.0 or not self.training:
            return self._successor(hidden_states, given[self._kind])
        given = given if self._slots else given * len(self.predecessor)
        if self.share == 0.0:
            old = self._predecessor(hidden_states, given, recorded=True)
            return self._rooted(old) if self.last else old
        with unrecorded(hidden_states):
            old = self._predecessor(hidden_states, given, recorded=False)
        return self._blended(old, self._successor(hidden_states, given[self._kind]))

    def _successor(self, hidden_states: torch.Tensor, given: Given) -> Any:
        if getattr(self.successor, "gradient_checkpointing", False) and self.training and torch.is_grad_enabled():
            # A reentrant checkpoint gives no gradient to weights whose input requires none.
            hidden_states = hidden_states if hidden_states.requires_grad else hidden_states.detach().requires_grad_()
        return self.successor(hidden_states, *given[0], **given[1])

    def _predecessor(self, hidden_states: torch.Tensor, given: Sequence[Given], recorded: bool) -> Any:
        """`recorded`: the last layer's outputs stand for the module's."""
        *before, last = zip(self.predecessor, given, strict=True)
        output: Any = hidden_states
        with unrecorded(hidden_states) if before and recorded else nullcontext():
            for layer, (args, kwargs) in before:
                args, kwargs = self._with_bias(output, args, kwargs)
                output = layer(hidden_of(output), *args, **kwargs)
        args, kwargs = self._with_bias(output, *last[1])
        return last[0](hidden_of(output), *args, **kwargs)

    def _with_bias(self, output: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Given:
        """The arguments with what the layer before computed for all."""
        if not isinstance(output, tuple):
            return args, kwargs
        for name, place in self._handed_on.items():
            computed = output[HANDED_ON[name]] if len(output) > HANDED_ON[name] else None
            if place < len(args) and args[place] is None:
                args = (*args[:place], computed, *args[place + 1 :])
            elif place >= len(args) and kwargs.get(name) is None:
                kwargs = {**kwargs, name: computed}
        return args, kwargs

    def _blended(self, old: Any, new: Any) -> Any:
        return with_hidden(new, torch.lerp(hidden_of(old), hidden_of(new), self.share))

    @staticmethod
    def _rooted(output: Any) -> Any:
        """Make the last replaceable module's output a leaf if nothing up to this point is trained.

        If no module was drawn and the rest is frozen (12 % of all steps at p = 0.3 with six modules), the loss depends
        on no tensor that requires a gradient, and `loss.backward()` would raise an error. With a leaf, backward() ends
        here, is legal, and changes nothing. If a lower module was drawn or the embeddings train, the output already
        requires a gradient and is returned unchanged. (The released code back-propagates into the frozen weights.)
        """
        hidden = hidden_of(output)
        if hidden.requires_grad or not torch.is_grad_enabled():
            return output
        return with_hidden(output, hidden.detach().requires_grad_())
