"""The cost of one optimizer step per method, side by side: `make bench`.

A BERT of 6 x 128 with random weights on sentences of 4 to 40 tokens, batch 32, one thread. Read ratios, not times.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

import pytest
import torch

from baselines import find
from baselines.method import Given
from benchmarks import device as devices
from benchmarks.batches import Tokens, training_rows
from benchmarks.encoder import EncoderSource, load_pretrained
from benchmarks.evaluation import predecessor_outputs
from benchmarks.settings import Device, Training
from benchmarks.tasks import find_task
from benchmarks.training import backward, make_optimizer

SHAPE = {"vocab_size": 1000, "hidden_size": 128, "num_hidden_layers": 6, "num_attention_heads": 4,
         "intermediate_size": 512, "max_position_embeddings": 64}  # fmt: skip
METHODS = {
    "predecessor": {},
    "finetune": {},
    "kd": {},
    "pkd": {},
    "theseus": {"rate": {"kind": "constant", "p": 0.5, "reach": 10**6}},
}


def split(examples: int = 320) -> Tokens:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(4, 41, (examples,), generator=generator)
    return Tokens(
        ids=torch.randint(5, 1000, (int(lengths.sum()),), generator=generator),
        types=None,
        offsets=torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]),
        labels=torch.randint(0, 2, (examples,), generator=generator),
        idx=torch.arange(examples).numpy(),
        pad_id=0,
    )


@pytest.mark.parametrize("name", METHODS)
def bench_step(name: str, benchmark: Any) -> None:
    device = devices.resolve(Device(device="cpu"))
    devices.apply(device)
    source = EncoderSource("bench", "random", None, "random", 6, tuple(sorted(SHAPE.items())))

    def model() -> Any:
        return load_pretrained(source, find_task("rte"), 0, device.attention)

    method = find(name)(**METHODS[name])
    given = Given(model, model, layers=3, gates_seed=0, steps=10**6)
    trained, tokens = method.build(given).train(), split()
    outputs = predecessor_outputs(model(), tokens, method.needs, device) if method.needs else {}
    optimizer = make_optimizer(method.parameters(trained), Training())
    batches = cycle(list(training_rows(0, len(tokens), 32, 10)))

    def step() -> None:
        backward(method, trained, tokens, next(batches), outputs, 1, device)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        method.after_step(trained)

    benchmark.pedantic(step, rounds=40, warmup_rounds=3)
