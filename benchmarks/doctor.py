"""What this machine can run: device, precision, threads, which data and encoders are at hand, and a determinism
probe.

The probe trains a small random encoder for a few Theseus steps twice and compares the weights bit for bit, in
every precision: where that differs, no number of this machine can be expected to repeat.
"""

from __future__ import annotations

import os
from typing import Any, Literal

import torch

from baselines import find
from baselines.method import Batch, Given
from benchmarks import device as devices
from benchmarks.calibration import throughput
from benchmarks.data import find_source, load_splits
from benchmarks.encoder import EncoderSource, find_encoder, load_pretrained
from benchmarks.errors import SuiteError
from benchmarks.settings import Data, Device
from benchmarks.suite import available, load_suite
from benchmarks.tasks import GLUE, TASKS
from benchmarks.workers import best_workers, keep_throughput, possible_workers

PROBE_SHAPE = {"vocab_size": 200, "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
               "intermediate_size": 128, "max_position_embeddings": 64}  # fmt: skip
PROBE_STEPS = 3
# What the workers are measured on: the demo's encoder and MiniLM's.
SMALL_SHAPE = {"vocab_size": 1000, "hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 512,
               "max_position_embeddings": 128}  # fmt: skip
MINILM_SHAPE = {"vocab_size": 30522, "hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536,
                "max_position_embeddings": 512}  # fmt: skip
Precision = Literal["float32", "bfloat16"]


def probe(precision: Precision, device: Literal["cpu", "cuda"]) -> str | None:
    """Train a few steps twice; the first parameter that differs in any bit, or None."""
    settings = devices.resolve(Device(device=device, precision=precision, threads=torch.get_num_threads()))
    first, second = _probe_weights(settings), _probe_weights(settings)
    return next((name for name in first if not torch.equal(first[name], second[name])), None)


def _probe_weights(settings: Device) -> dict[str, torch.Tensor]:
    source = EncoderSource("probe", "random", None, "random", 4, tuple(sorted(PROBE_SHAPE.items())))
    method = find("theseus")()

    def model() -> Any:
        return load_pretrained(source, TASKS["rte"], 0, settings.attention)

    trained = method.build(Given(model, model, 2, 0, PROBE_STEPS)).to(settings.device).train()
    optimizer = torch.optim.AdamW(method.parameters(trained), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    for step in range(PROBE_STEPS):
        torch.manual_seed(step)
        ids = torch.randint(1, 200, (8, 24), generator=generator).to(settings.device)
        labels = torch.randint(0, 2, (8,), generator=generator).to(settings.device)
        with devices.precision(settings):
            loss = method.loss(trained, Batch({"input_ids": ids}, labels, {}))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(trained)
    return {name: value.detach().cpu() for name, value in trained.state_dict().items()}


def _data() -> dict[str, str]:
    found = {}
    for task in GLUE:
        try:
            source = find_source(task, Data())
            load_splits(source)
            found[task.name] = "complete"
        except SuiteError as error:
            found[task.name] = str(error)
    return found


def _encoders() -> dict[str, str]:
    found = {}
    for name in available():
        try:
            source = find_encoder(load_suite(name).encoder)
            found[name] = f"{source.name}: " + ("from the hub, not fetched yet" if source.revision else source.location)
        except SuiteError as error:
            found[name] = str(error)
    return found


def examine() -> dict[str, Any]:
    """Everything the doctor knows, as plain data."""
    cuda = torch.cuda.is_available()
    device: Literal["cpu", "cuda"] = "cuda" if cuda else "cpu"
    torch.use_deterministic_algorithms(True)
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    differs = {precision: probe(precision, device) for precision in precisions}
    return {
        "device": device,
        "device_name": devices.device_name(Device(device=device)),
        "device_class": devices.device_class(Device(device=device)),
        "cores": len(os.sched_getaffinity(0)),
        "torch": torch.__version__,
        "glue_dir": os.environ.get("GLUE_DIR"),
        "data": _data(),
        "encoder_dir": os.environ.get("ENCODER_DIR"),
        "encoders": _encoders(),
        "determinism": {"bit_equal": not any(differs.values()), "first_difference": differs},
        "workers": _workers(device),
    }


def _workers(device: Literal["cpu", "cuda"]) -> dict[str, Any]:
    """Steps a second by number of workers that share the device, measured now and kept: what `run` takes by default."""
    found: dict[str, Any] = {}
    for precision, shape in (("float32", SMALL_SHAPE), ("bfloat16", MINILM_SHAPE)):
        settings = Device(device=device).model_copy(update={"precision": precision})
        rates = {count: throughput(shape, settings, count) for count in possible_workers(settings)}
        keep_throughput(settings, rates)
        found[precision] = {"steps_per_second": rates, "chosen": best_workers(rates)}
    return found


def show(found: dict[str, Any]) -> str:
    """The same for people."""
    lines = [
        f"device       {found['device']}: {found['device_name']} ({found['device_class']}), {found['cores']} usable",
        f"torch        {found['torch']}",
        f"GLUE_DIR     {found['glue_dir'] or 'not set'}",
        *(f"  {task:<11}{state}" for task, state in found["data"].items()),
        f"ENCODER_DIR  {found['encoder_dir'] or 'not set'}",
        *(f"  {suite:<11}{state}" for suite, state in found["encoders"].items()),
    ]
    for precision, name in found["determinism"]["first_difference"].items():
        verdict = "bit-equal when repeated" if name is None else f"NOT repeatable, first at {name}"
        lines.append(f"determinism  {precision}: {verdict}")
    for precision, measured in found["workers"].items():
        rates = ", ".join(f"{count}: {rate:.3g}" for count, rate in measured["steps_per_second"].items())
        lines.append(f"workers      {precision}: {measured['chosen']} at once (steps a second with {rates})")
    return "\n".join(lines)
