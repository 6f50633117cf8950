"""What the workers of benchmarks/gpu.py time: an optimizer step of each method, a batch of a pass without gradients.

The step is benchmarks/training.py's, said again without the suite's configuration objects, which need pydantic; a test
holds the two bit-equal for every method. Host and device meet nowhere in it: batches go over from pinned memory, and
losses and gates stay where they are until the window closes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, BertConfig, BertForSequenceClassification
from transformers.models.bert.modeling_bert import BertLayer

from baselines.losses import distillation_loss, patient_loss, task_loss
from benchmarks import groups as length_groups
from benchmarks.dropout import MaskStream, streamed
from benchmarks.gpu_batches import Split
from benchmarks.gpu_cases import AS_RELEASED, LABELS, Case, Shape
from benchmarks.groups import LengthGroups, onto
from benchmarks.streams import stream_seed
from theseus import ConstantRate, Theseus, find_blocks, keep_layers

ALPHA, TEMPERATURE, BETA = 0.7, 10.0, 500.0


def apply_settings(deterministic: bool) -> None:
    """The suite's device settings (benchmarks/device.py): one thread, no TF32, deterministic algorithms.

    cuDNN's attention is off: it builds a plan for every new shape, and every batch brings new lengths.
    """
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def precision(name: str, device: str) -> AbstractContextManager[Any]:
    """bfloat16 autocast where the case asks."""
    return contextlib.nullcontext() if name == "float32" else torch.autocast(device, dtype=torch.bfloat16)


def classifier(shape: Shape, device: str, seed: int = 0) -> BertForSequenceClassification:
    """A BERT of that shape with random weights, made on the device."""
    make: Any = BertConfig
    config = make(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, intermediate_size=shape.intermediate,
        max_position_embeddings=shape.positions, num_labels=LABELS, attn_implementation="sdpa",
    )  # fmt: skip
    torch.manual_seed(seed)
    with torch.device(device):
        return BertForSequenceClassification(config)


def followed_layers(shape: Shape) -> list[str]:
    """Names of the predecessor states that PKD (skip) follows: 12 to 6 gives cls-2, cls-4, ... cls-10."""
    return [f"cls-{j * shape.layers // shape.successor}" for j in range(1, shape.successor)]


def random_outputs(shape: Shape, examples: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Predecessor outputs for `examples` examples, as the cache holds them: logits float32, [CLS] states `dtype`."""
    generator = torch.Generator().manual_seed(0)
    found = {"logits": torch.randn(examples, LABELS, generator=generator)}
    for name in followed_layers(shape):
        found[name] = torch.randn(examples, shape.hidden, generator=generator).to(dtype)
    return found


def compile_blocks(model: nn.Module, backend: str) -> None:
    """Compile every layer of `model` by itself: gates choose among layers, so no graph spans two. Shapes are dynamic;
    attention over length groups, which no graph could hold without compiling for every batch, stays outside."""
    import torch._dynamo

    torch._dynamo.config.recompile_limit = 64
    AttentionInterface.register(length_groups.NAME, torch.compiler.disable(length_groups._attention))
    for layer in model.modules():
        if isinstance(layer, BertLayer):
            setattr(layer, "forward", torch.compile(layer.forward, dynamic=True, backend=backend))  # noqa: B010


Loss = Callable[[nn.Module, dict[str, torch.Tensor], torch.Tensor, dict[str, torch.Tensor], Any], torch.Tensor]


def _plain(model: nn.Module, inputs: Any, labels: torch.Tensor, _: Any, __: Any) -> torch.Tensor:
    return task_loss(model(**inputs).logits, labels)


def _mixed(logits: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    soft = distillation_loss(logits, teacher, TEMPERATURE)
    return (1.0 - ALPHA) * task_loss(logits, labels) + ALPHA * soft


def _kd(model: nn.Module, inputs: Any, labels: torch.Tensor, outputs: Any, _: Any) -> torch.Tensor:
    return _mixed(model(**inputs).logits, labels, outputs["logits"])


def _pkd(model: nn.Module, inputs: Any, labels: torch.Tensor, outputs: Any, first: Any) -> torch.Tensor:
    found = model(**inputs, output_hidden_states=True)
    inner = found.hidden_states[1:-1]
    cls = torch.stack([states[:, 0] if first is None else states[0, first] for states in inner], dim=1)
    teacher = torch.stack([values for name, values in outputs.items() if name != "logits"], dim=1)
    return _mixed(found.logits, labels, outputs["logits"]) + BETA * patient_loss(cls, teacher)


LOSSES: dict[str, Loss] = {"kd": _kd, "pkd": _pkd}


class TrainingStep:
    """One run of a method: its model, its optimizer, and `step(number, split, rows)`."""

    def __init__(self, case: Case, shape: Shape, device: str, backend: str = "inductor", seed: int = 0) -> None:
        self.case, self.shape, self.device, self.seed = case, shape, device, seed
        self.method = "theseus" if case.name in AS_RELEASED else case.name
        self.released = case.name in AS_RELEASED
        self.model, self.theseus = self._build()
        self.masks = MaskStream()
        self.loss = LOSSES.get(self.method, _plain)
        self.needs = {"kd": ["logits"], "pkd": ["logits", *followed_layers(shape)]}.get(self.method, [])
        self.parameters = self.theseus.trainable_parameters() if self.theseus else list(self.model.parameters())
        self.clipped = list(self.model.parameters()) if self.released else self.parameters
        self.optimizer = self._make_optimizer()
        self.model.train()
        stack = self.theseus.stack if self.theseus else find_blocks(self.model).layers
        self._open = contextlib.ExitStack()
        if not case.compiled:  # a graph holds torch's own dropout only; on a GPU they are the same
            self._open.enter_context(streamed(self.model, self.masks))
        self.groups = LengthGroups(self.model, stack, case.groups, self.masks)
        if case.groups > 1 and not self.groups.fits:
            raise RuntimeError("length groups give other logits than plain padding here")
        if case.compiled:
            compile_blocks(self.model, backend)
        self.total = torch.zeros((), device=device)

    def _build(self) -> tuple[nn.Module, Theseus | None]:
        whole = classifier(self.shape, self.device, self.seed)
        if self.method == "predecessor":
            return whole, None
        if self.method != "theseus":
            return keep_layers(whole, range(self.shape.successor)), None
        theseus = Theseus(
            whole, layers=self.shape.successor, seed=self.seed,
            rate=ConstantRate(AS_RELEASED.get(self.case.name, 0.5), 10**9),
            draw="forward" if self.released else "step", frozen_gradients=self.released,
        )  # fmt: skip
        return theseus.model, theseus

    def _make_optimizer(self) -> torch.optim.AdamW:
        decayed = [parameter for parameter in self.parameters if parameter.ndim > 1]
        spared = [parameter for parameter in self.parameters if parameter.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": 0.0}, {"params": spared, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=2e-5, eps=1e-8, fused=True)

    def step(self, number: int, split: Split, rows: torch.Tensor) -> float:
        """One optimizer step on `rows` (n,) of the split; what it had to compute, in forward passes of one layer."""
        dropout = stream_seed(self.seed, "dropout", number)
        torch.manual_seed(dropout)
        self.masks.restart(dropout)
        lengths = split.lengths[rows]
        order = lengths.argsort(stable=True)
        rows = rows[order]
        layout = self.groups.layout(lengths[order], self.device)
        inputs = {name: onto(tensor, self.device) for name, tensor in split.collate(rows).items()}
        outputs = {name: onto(split.outputs[name][rows], self.device) for name in self.needs}
        labels = onto(split.labels[rows], self.device)
        with precision(self.case.precision, self.device), self.groups.over(layout):
            loss = self.loss(self.model, inputs, labels, outputs, None if layout is None else layout.first)
        loss.backward()
        self.total += loss.detach()
        units = self._units()
        nn.utils.clip_grad_norm_(self.clipped, 1.0)
        self.optimizer.step()
        self._clear()
        if self.theseus:
            self.theseus.step()
        return units

    def _units(self) -> float:
        shape = self.shape
        if self.theseus is None:
            return 3.0 * (shape.layers if self.method == "predecessor" else shape.successor)
        return theseus_units(self.theseus.gates, shape.layers // shape.successor, self.released)

    def _clear(self) -> None:
        """Gradients away, or to zero where Adam's momentum is to move what was not drawn (the released code)."""
        if not self.released:
            for parameter in self.model.parameters():
                parameter.grad = None
            return
        torch._foreach_zero_([parameter.grad for parameter in self.model.parameters() if parameter.grad is not None])

    def close(self) -> None:
        """Take hooks and replaced modules off again, so that nothing keeps the model alive."""
        self.groups.close()
        self._open.close()


def theseus_units(gates: list[bool], size: int, frozen_gradients: bool) -> float:
    """Operations of a Theseus step with these gates, in forward passes of one layer; `size` layers make a module.

    A backward pass costs one unit for the weights of what trains and one for its input; below the lowest drawn module
    there is none, and that module itself needs no gradient of its input. With `frozen_gradients` both halves are
    computed for every layer that ran.
    """
    if frozen_gradients:
        return 3.0 * sum(1 if drawn else size for drawn in gates)
    units, below = 0.0, False
    for drawn in gates:
        units += 1.0 if drawn else float(size)  # forward
        if drawn:
            units += 2.0 if below else 1.0
        elif below:
            units += size
        below = below or drawn
    return units


class PassStep:
    """One batch of an evaluation, or of the predecessor's outputs for its pupils (benchmarks/evaluation.py)."""

    def __init__(self, case: Case, shape: Shape, device: str, _: str = "") -> None:
        self.case, self.device = case, device
        model = classifier(shape, device).eval()
        self.layers = shape.successor if case.name == "evaluate-successor" else shape.layers
        self.model = model if self.layers == shape.layers else keep_layers(model, range(self.layers))
        names = followed_layers(shape) if case.name == "predecessor-outputs" else []
        self.states = [int(name.removeprefix("cls-")) for name in names]

    @torch.inference_mode()
    def step(self, number: int, split: Split, rows: torch.Tensor) -> float:
        """The batch's outputs, fetched to the CPU as the suite does after every batch; its units."""
        inputs = {name: onto(tensor, self.device) for name, tensor in split.collate(rows).items()}
        with precision(self.case.precision, self.device):
            found = self.model(**inputs, **({"output_hidden_states": True} if self.states else {}))
        for values in (found.logits.float(), *(found.hidden_states[layer][:, 0] for layer in self.states)):
            values.cpu()
        return float(self.layers)

    def close(self) -> None:
        """Nothing to take off."""
