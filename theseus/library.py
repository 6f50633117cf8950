"""`Theseus` as the library offers it: the computation of `theseus.replacing`, and what its users need around it.

    theseus = Theseus(predecessor, layers=6, rate=LinearRate(base=0.3, k=0.0006), seed=0)
    theseus.model.save_pretrained("six-layers")         # the successor
    theseus.successor().config.theseus                  # where it is from
    theseus.card(license="mit")                         # the text of its README.md

The two are apart because a benchmark's numbers depend on the computation alone: a change of what is saved, said or
refused here leaves the ids of finished runs as they are.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from theseus import replacing, saving
from theseus.card import card_of
from theseus.models.parts import Part
from theseus.provenance import origin
from theseus.watch import StepWatch

MERGE_FIRST = (
    "either merge them first, Theseus(peft_model.merge_and_unload(), ...), or compress the model without them and "
    "add LoRA to the successor, get_peft_model(theseus.successor(), ...)"
)
MERGE_LATER = "call peft_model.merge_and_unload() before you take or save the successor"


class Theseus(replacing.Theseus):
    __doc__ = replacing.Theseus.__doc__
    _watch: StepWatch
    _origin: dict[str, Any]
    weights_at: int | None = None
    """The step that the model's weights are of, if an earlier checkpoint has been loaded; None: the current step."""

    if not TYPE_CHECKING:  # a type checker reads the signature of the class that computes

        @functools.wraps(replacing.Theseus.__init__)
        def __init__(self, *args, **kwargs):
            given = inspect.signature(replacing.Theseus.__init__).bind(self, *args, **kwargs)
            given.apply_defaults()
            for model in (given.arguments["predecessor"], given.arguments["init_from"]):
                saving.refuse_adapters(model, MERGE_FIRST)
            self._watch = StepWatch()
            super().__init__(*args, **kwargs)
            self._origin = origin(given.arguments)
            if hasattr(self.model, "_model_card_text"):
                self.model._model_card_text = None  # that of the predecessor; sentence-transformers writes another
            self.stack.register_load_state_dict_pre_hook(saving.read_successor)
            self._attach()

    def _attach(self) -> None:
        saving.save_instead(self.model, self.stack, self.successor)
        self._watching = self.model.register_forward_pre_hook(self._watch)

    @contextmanager
    def _detached(self) -> Iterator[None]:
        """What hangs on the model leads to this object, and a copy of the model would include it."""
        self._watching.remove()
        saving.save_as_usual(self.model, self.stack)
        try:
            yield
        finally:
            self._attach()

    def train_parts(self, parts: Collection[Part]) -> None:
        super().train_parts(parts)
        self._watch.weights = self.trainable_parameters()

    def step(self) -> None:
        super().step()
        self._watch.done, self.weights_at = True, None

    train_parts.__doc__, step.__doc__ = replacing.Theseus.train_parts.__doc__, replacing.Theseus.step.__doc__

    @property
    def frozen_gradients(self) -> bool:
        """Whether backward() computes gradients of frozen weights too."""
        return self._frozen_gradients

    def successor(self) -> Any:
        """A plain model of the predecessor's class, in eval mode, that shares no weight with this one. It has `layers`
        layers, or more if only some modules are replaced. `config.theseus` says where it is from.

        Raises `TheseusError` if adapters of PEFT have been added to the model and not been merged.
        """
        saving.refuse_adapters(self.model, MERGE_LATER)
        path = next(name for name, module in self.model.named_modules() if module is self.stack)
        with self._detached():
            successor = saving.as_loaded(super().successor())
        for owner in saving.owners(successor, successor.get_submodule(path)):
            owner.config.theseus = self.provenance()
            owner.config._name_or_path = owner.name_or_path = ""  # or an adapter would call the predecessor its base
        if hasattr(successor, "_model_card_text"):  # sentence-transformers would save the predecessor's card
            successor._model_card_text = self.card()
        return successor

    def provenance(self) -> dict[str, Any]:
        """What the successor is made of: predecessor, modules, switches, seed, steps, p(t), version of the library."""
        steps = self._steps_done if self.weights_at is None else self.weights_at
        return {**self._origin, "steps": steps, "replacing_rate": float(self._rate(steps))}

    def card(self, **data: Any) -> str:
        """A model card of the successor, the text of its README.md. `data` are fields of a card on the hub, such as
        `license`, `language` and `datasets`, and `model_name`, the title. They take precedence over what is known."""
        return card_of(self.model, self.provenance(), data)
