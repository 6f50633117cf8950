"""One process of a Trainer run under DDP. torch.distributed.run starts two of it, with FOLDER CHECKPOINT OPTIONS."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import distributed
from transformers import Trainer, TrainingArguments

from tests import tiny
from theseus import LinearRate, Theseus, TheseusCallback, TheseusError


def main(folder: Path, checkpoint: str, options: dict[str, object]) -> None:
    rows = tiny.batch(0, size=24)
    data = [{name: values[index] for name, values in rows.items()} for index in range(24)]
    frozen = bool(options.pop("frozen_gradients", False))
    theseus = Theseus(
        tiny.bert(6, seed=1, dropout=0.1), layers=3, rate=LinearRate(0.3, 0.05), seed=7, frozen_gradients=frozen
    )
    arguments = TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=3, max_steps=12, learning_rate=1e-2, save_steps=3, seed=5,
        report_to=[], disable_tqdm=True, use_cpu=True, ddp_backend="gloo", **options,
    )  # fmt: skip
    try:
        trainer = Trainer(theseus.model, arguments, train_dataset=data, callbacks=[TheseusCallback(theseus)])
    except TheseusError as error:
        (folder / f"refused-{arguments.process_index}").write_text(str(error))
        return
    drawn = []
    step = theseus.step
    theseus.step = lambda: (drawn.append(theseus.gates), step())
    trainer.train(resume_from_checkpoint=checkpoint or None)
    done = {
        "drawn": drawn,
        "rate": theseus.rate,
        "weights": [weight.double().sum().item() for weight in theseus.model.parameters()],
    }
    (folder / f"rank-{distributed.get_rank()}.json").write_text(json.dumps(done))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
