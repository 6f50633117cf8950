"""`TheseusCallback`: Theseus under transformers' Trainer, and under those built on it (sentence-transformers).

    from transformers import Trainer
    trainer = Trainer(model=theseus.model, args=arguments, train_dataset=data, callbacks=[TheseusCallback(theseus)])
    trainer.train()
    theseus.successor().save_pretrained("six-layers")

Trainer saves and loads the weights, and the gated model sees to it that these are the successor's (`theseus.saving`).
The rest of what a resumed run needs is small (step, draws, generator), and goes into the checkpoint's
trainer_state.json: Trainer hands its content to callbacks, wherever the checkpoint lies.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from theseus.distributed import ZeroGradient
from theseus.errors import TheseusError
from theseus.gates.module import GatedModule
from theseus.library import Theseus
from theseus.saving import fingerprint

KEY = "theseus"  # in `TrainerState.stateful_callbacks`


class TheseusCallback(TrainerCallback):
    """Steps the replacing rate with the optimizer, keeps frozen weights out of it, saves and restores what resuming
    needs, and adds p(t) to the log.

    Raises `TheseusError`, before training begins, for a model that is not `theseus.model`, for an optimizer that would
    move the predecessor's layers, and for a checkpoint that cannot be resumed bit by bit.
    """

    def __init__(self, theseus: Theseus) -> None:
        self.theseus = theseus
        self._rate = theseus.rate
        self._predecessor: int | None = None
        self._zero: ZeroGradient | None = None

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if not any(module is self.theseus.model for module in kwargs["model"].modules()):
            raise TheseusError("the Trainer trains another model: give it model=theseus.model")
        if args.world_size > 1 and self.theseus.frozen_gradients:
            raise TheseusError("frozen_gradients needs a single process: others would not share these gradients")
        for weight in self._frozen():  # Trainer makes its optimizer after this, of what requires a gradient
            weight.requires_grad_(False)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._check_optimizer(kwargs["optimizer"])
        for weight in self._frozen():
            weight.requires_grad_(True)
        if args.world_size > 1:
            self._zero = ZeroGradient(self.theseus, every=not _unused_are_found(args, kwargs["model"]))
        if state.global_step:
            self._restore(_kept(state).get(KEY))

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._zero is not None:
            self._zero.clear()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._zero is not None:
            self._zero.remove()
        if args.load_best_model_at_end and state.best_model_checkpoint:  # Trainer has just loaded it
            self.theseus.weights_at = state.best_global_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._rate = self.theseus.rate
        self.theseus.step()
        _kept(state)[KEY] = self._state()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """`replacing_rate` is that of the last step, as `learning_rate` is. Integrations that come before this callback
        (TensorBoard, wandb) have written by now; `state.log_history` and what Trainer prints have it."""
        if logs is not None and "loss" in logs:
            logs["replacing_rate"] = state.log_history[-1]["replacing_rate"] = self._rate

    def _frozen(self) -> list[nn.Parameter]:
        """The frozen weights that get gradients all the same (`frozen_gradients`)."""
        trained = {id(weight) for weight in self.theseus.trainable_parameters()}
        return [w for w in self.theseus.model.parameters() if self.theseus.frozen_gradients and id(w) not in trained]

    def _check_optimizer(self, optimizer: Any) -> None:
        gated = [module for module in self.theseus.stack.modules() if isinstance(module, GatedModule)]
        predecessor = [weight for module in gated for weight in module.predecessor.parameters()]
        still = {id(weight) for weight in (*predecessor, *self._frozen())}
        moved = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
        if wrong := len(still & moved):
            raise TheseusError(
                f"the optimizer would move {wrong} frozen weights: give it theseus.trainable_parameters(), and LoRA a "
                r"pattern for the successor alone, such as target_modules=r'.*\.successor\..*(query|value)'"
            )

    def _fingerprint(self) -> int:
        if self._predecessor is None:  # it is frozen: once is enough
            self._predecessor = fingerprint(self.theseus.stack)
        return self._predecessor

    def _state(self) -> dict[str, Any]:
        """The state of `theseus` as values that JSON has."""
        tensors = {name: tensor.tolist() for name, tensor in self.theseus.state_dict().items()}
        return {**tensors, "generator": bytes(tensors["generator"]).hex(), "predecessor": self._fingerprint()}

    def _restore(self, saved: dict[str, Any] | None) -> None:
        if saved is None:
            raise TheseusError("the checkpoint has no state of Theseus: it was saved without TheseusCallback")
        if saved["predecessor"] != self._fingerprint():
            raise TheseusError(
                "the checkpoint belongs to another predecessor or other modules: make Theseus with the arguments that "
                "the checkpoint's run had"
            )
        self.theseus.load_state_dict(
            {
                "step": torch.tensor(saved["step"]),
                "assigned": torch.tensor(saved["assigned"]),
                "shares": torch.tensor(saved["shares"], dtype=torch.float64),
                "generator": torch.frombuffer(bytearray.fromhex(saved["generator"]), dtype=torch.uint8),
            }
        )


def _kept(state: TrainerState) -> dict[str, Any]:
    """What callbacks keep in trainer_state.json, by name. transformers declares it as the list that it is made from."""
    kept: Any = state.stateful_callbacks
    assert isinstance(kept, dict)
    return kept


def _unused_are_found(args: TrainingArguments, model: Any) -> bool:
    """Whether DDP searches for weights that a step did not use: as asked for, else unless Trainer sees gradient
    checkpointing. Its names in transformers change from 5.17 to 5.23."""
    if args.ddp_find_unused_parameters is not None:
        return bool(args.ddp_find_unused_parameters)
    asked = getattr(args, "activation_checkpointing", False) or getattr(args, "gradient_checkpointing", False)
    return not asked and not any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
