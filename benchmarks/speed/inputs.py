"""The models that are timed, their input batches, and, for variants that round, their dev scores.

    found = Subjects.find(plan, speed, results_folder, needs_data=True)
    found.batches(32, "dev", "cpu")         # real dev examples in random order, padded as in evaluation
    found.dev_score(runner, "cpu")          # the task's score

Time does not depend on the values of the weights, but agreement and dev scores do. So the stored models of the suite's
runs are used if there are any, else the pretrained weights with a new head; the result says which.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from baselines.method import LOGITS
from benchmarks.models.loading import load_finetuned, load_pretrained
from benchmarks.plans.run import Plan, Run
from benchmarks.runs.store import Store
from benchmarks.runs.tokens import tokenizer_of
from benchmarks.speed.timing import Inputs
from benchmarks.speed.variants import Runner
from benchmarks.suites.arms import PREDECESSOR
from benchmarks.suites.speed import Speed
from benchmarks.tasks import kinds
from benchmarks.tasks.data import load_splits
from benchmarks.tasks.tokens import Tokens
from benchmarks.training.batches import evaluation_batches
from results.format.documents.speed import DevLengths
from results.format.errors import UserError
from theseus import keep_layers

DEV = "dev"
PROBE = 64  # examples on which every variant is compared with eager before it is timed
SCORED = 2000  # dev examples per split for a variant's score: QQP's 40,430 would take an hour on one core
PRETRAINED = "pretrained, head not trained"


@dataclass(frozen=True)
class Model:
    """Predecessor or successor. `run_id` names the run that trained the weights, None for pretrained ones."""

    module: Any
    layers: int
    run_id: str | None

    @property
    def weights(self) -> str:
        """Where the weights come from, in words for speed.json."""
        return PRETRAINED if self.run_id is None else f"fine-tuned, run {self.run_id}"


@dataclass(frozen=True)
class Subjects:
    """The predecessor, a successor of every depth (deepest first), and the data."""

    plan: Plan
    run: Run
    predecessor: Model
    successors: list[Model]
    splits: dict[str, Tokens]

    @classmethod
    def find(cls, plan: Plan, speed: Speed, folder: Path | None, needs_data: bool) -> Subjects:
        """Stored fine-tuned models of the first task that has a predecessor in `folder`, else pretrained ones.

        Dev data is read if "dev" is among the lengths or for `needs_data`. Raises `SuiteError` if "dev" is among the
        lengths and the data is not available.
        """
        store = Store(folder) if folder else None
        run, deep = _predecessor(plan, store)
        attention = plan.device.attention
        module = (
            load_finetuned(deep, attention, run.task.kind)
            if deep
            else load_pretrained(plan.encoder, run.task, 0, attention)
        )
        predecessor = Model(module.eval(), plan.suite.encoder.layers, run.id if deep else None)
        successors = [_successor(plan, store, run, predecessor, layers) for layers in depths(plan)]
        return cls(plan, run, predecessor, successors, _splits(plan, run, DEV in speed.lengths, needs_data))

    @cached_property
    def types(self) -> bool:
        """Do the models need token_type_ids? An export needs the same inputs for all of them. A model that reads the
        texts of an example separately takes them, but no type says anything of an input of random words."""
        module = self.predecessor.module
        known = "token_type_ids" in inspect.signature(module.forward).parameters
        separate = kinds.find(self.run.task.kind).separate
        return known and not separate and bool(getattr(module.config, "type_vocab_size", 0))

    def batches(self, size: int, length: int | str, device: str, most: int = 100) -> list[Inputs]:
        """The batches of one condition: one of random words without padding, or up to `most` of dev examples.

        Dev examples are in random order, as requests are; each batch is padded to its longest example.
        """
        generator = torch.Generator().manual_seed(0)
        if length == DEV:
            tokens = self._all_dev()
            order = torch.randperm(len(tokens), generator=generator)
            rows = [part for part in order.split(size)[:most] if len(part) == size] or [order[:size]]
            return [self._typed(tokens.collate(part, device)[0]) for part in rows]
        vocabulary = self.predecessor.module.config.vocab_size
        ids = torch.randint(5, vocabulary, (size, int(length)), generator=generator).to(device)
        return [self._typed({"input_ids": ids, "attention_mask": torch.ones_like(ids)})]

    def probe(self, device: str) -> list[Inputs]:
        """A short and a long padded batch, `PROBE` examples in all: from dev if its data was read, else random."""
        if self.splits:
            tokens = self._all_dev()
            rows = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(1))[:PROBE]
            rows = rows[tokens.lengths[rows].argsort(stable=True)]
            return [self._typed(tokens.collate(part, device)[0]) for part in rows.tensor_split(2)]
        longest = min(32, getattr(self.predecessor.module.config, "max_position_embeddings", None) or 32)
        (inputs,) = self.batches(PROBE, longest, device)
        ends = torch.linspace(longest // 4, longest, PROBE).long().to(device)
        inputs["attention_mask"] = (torch.arange(longest, device=device) < ends[:, None]).long()
        half = PROBE // 2
        short = {name: tensor[:half, : int(ends[half - 1])] for name, tensor in inputs.items()}
        return [short, {name: tensor[half:] for name, tensor in inputs.items()}]

    def lengths(self, size: int) -> DevLengths:
        """Describe "dev": its task, its number of examples, and their lengths in tokens, also padded."""
        tokens = self._all_dev()
        found = tokens.lengths.numpy()
        padded = [inputs["input_ids"].shape[1] for inputs in self.batches(size, DEV, "cpu")]
        return DevLengths(
            task=self.run.task.name, examples=len(tokens), median=float(np.median(found)),
            p90=float(np.percentile(found, 90)), longest=int(found.max()), padded_median=float(np.median(padded)),
        )  # fmt: skip

    def dev_score(self, runner: Runner, device: str) -> tuple[float, int]:
        """The task's score (0 to 100), and the number of examples: all of dev or a sample of `SCORED` a split."""
        kind, logits, samples, examples = kinds.find(self.run.task.kind), {}, {}, 0
        for split, tokens in self.splits.items():
            number = torch.unique_consecutive(tokens.idx, return_inverse=True)[1]  # a question may have several windows
            sample = torch.randperm(int(number[-1]) + 1, generator=torch.Generator().manual_seed(2))[:SCORED]
            some = tokens.select(torch.isin(number, sample).nonzero().flatten())
            found = np.zeros((0, 0), dtype=np.float32)
            for rows, inputs in evaluation_batches(some, device):
                places = some.rows_of(LOGITS, rows)
                own = torch.from_numpy(runner.logits(self._typed(inputs)))
                kept = some.objective.reduced(own, some.labels[places]).numpy()
                if not found.size:
                    found = np.zeros((len(some.ids if some.by_token(LOGITS) else some), kept.shape[1]), np.float32)
                found[places.numpy()] = kept
            logits[split], samples[split] = found, some
            examples += len(sample)
        score: float = kind.score(self.run.task, logits, samples).score
        return score, examples

    def _typed(self, inputs: Inputs) -> Inputs:
        if self.types and "token_type_ids" not in inputs:
            return inputs | {"token_type_ids": torch.zeros_like(inputs["input_ids"])}
        return inputs

    def _all_dev(self) -> Tokens:
        return next(iter(self.splits.values()))


def depths(plan: Plan) -> list[int]:
    """The successor depths of a suite, deepest first."""
    return sorted({run.layers for run in _pupils(plan)} | {plan.suite.successor_layers}, reverse=True)


def _pupils(plan: Plan) -> list[Run]:
    """Runs that train a successor of the suite's own encoder; other encoders have other shapes and are not timed."""
    own = {name for name, arm in plan.suite.arms.items() if arm.encoder}
    return [run for run in plan.runs if run.arm not in {PREDECESSOR, *own}]


def _stored(store: Store | None, run: Run) -> Path | None:
    """The folder of a finished run's weights, or None."""
    if store is None:
        return None
    folder = store.successor(run.folder)
    result = store.result(run)
    return folder if result is not None and result.status == "done" and folder.is_dir() else None


def _predecessor(plan: Plan, store: Store | None) -> tuple[Run, Path | None]:
    """A predecessor run of the first task that has stored weights, else the first task's."""
    runs = [run for run in plan.runs if run.arm == PREDECESSOR and run.task.name in plan.suite.tasks]
    for run in runs:
        if folder := _stored(store, run):
            return run, folder
    return next(run for run in runs if run.task.name == plan.suite.tasks[0]), None


def _successor(plan: Plan, store: Store | None, deep: Run, predecessor: Model, layers: int) -> Model:
    """A stored successor of that task and depth, else the predecessor's lowest layers."""
    for run in _pupils(plan):
        if run.task == deep.task and run.layers == layers and (folder := _stored(store, run)):
            return Model(load_finetuned(folder, plan.device.attention, run.task.kind).eval(), layers, run.id)
    return Model(keep_layers(predecessor.module, range(layers)).eval(), layers, None)


def _splits(plan: Plan, run: Run, asked: bool, needs_data: bool) -> dict[str, Tokens]:
    """The task's dev splits as tokens; {} if they are not needed, or not available and not `asked` for."""
    if not asked and not needs_data:
        return {}
    try:
        tokenizer, rows = tokenizer_of(plan.encoder), load_splits(run.source)
    except UserError:
        if asked:
            raise
        return {}
    kind = kinds.find(run.task.kind)
    return {split: kind.encode(tokenizer, run.task, rows[split], run.max_length) for split in run.task.dev}
