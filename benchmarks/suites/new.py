"""Write a suite file for a user's own data and encoder: `python -m benchmarks new`.

    said = new_suite(Path("my.toml"), Wanted(Path("train.csv"), Path("my-bert")))

The data is read and checked as a plan checks it, and the file is loaded and its encoder found before it gets its name,
so that what was written can be planned.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from benchmarks.base.config import first_line
from benchmarks.base.errors import SuiteError, nearest
from benchmarks.models.encoder import find_encoder
from benchmarks.models.safety import check_model_folder
from benchmarks.models.standard import merged
from benchmarks.suites.file import available
from benchmarks.suites.suite import load_suite
from benchmarks.tasks import kinds
from benchmarks.tasks.data import TRAIN
from benchmarks.tasks.own.columns import NO_LABEL, kind_of, label_column, text_columns
from benchmarks.tasks.own.facts import Facts
from benchmarks.tasks.own.files import read_file
from benchmarks.tasks.own.source import own_source
from benchmarks.tasks.settings import REGRESSION, OwnData
from benchmarks.tasks.table import TASKS

SEEN = 20_000  # training examples that a run should see, at most in `MOST` epochs
FEWEST, MOST = 3, 20
# learning rates of the methods and of the predecessor, by the least width: those of the paper's suite, minilm and demo
RATES = ((512, ("5e-5", "3e-5")), (192, ("1e-4", "5e-5")), (0, ("5e-4", "3e-4")))
LAYERS, WIDTH = ("num_hidden_layers", "n_layers", "n_layer"), ("hidden_size", "dim", "d_model", "n_embd")
NAMED = 50  # class names that a file lists; more of them are taken from the data

TEMPLATE = """\
# python -m benchmarks reproduce {file}
name = {name} # of the results folder, under results/runs
title = {title} # the report's heading
description = {description} # a paragraph below it
seeds = [1, 2, 3] # every method runs once per seed
successor_layers = {successor} # of the small model; it divides the encoder's {layers}
held_out = {held_out} # share of train that no run trains on: it can choose a checkpoint

[tasks.{name_of_task}]
{task}

[comparison]
comparable = false # with the paper's numbers
reason = "Other data and another encoder than the paper's."

[encoder]
name = {encoder_name} # as the report calls it
path = {encoder} # a save_pretrained folder
layers = {layers} # in its weights
hidden_size = {hidden} # width of a layer

[training] # of every method: equal budgets
epochs = {epochs} # a run sees about {seen:,} examples
batch_size = {batch} # examples per step
learning_rate = {rate} # usual for this width; a `grid` in an arm searches it
warmup = 0.1 # share of the steps

[predecessor] # the whole encoder, fine-tuned: what the methods compress
training = {{ epochs = {epochs}, learning_rate = {deep_rate} }} # deeper models take smaller rates

[arms.finetune] # the small model without a teacher
method = "finetune"
title = "Fine-tuning"
[arms.theseus] # modules replaced one by one, all of them from half of the steps on
method = "theseus"
title = "BERT-of-Theseus"
options = {{ rate = {{ kind = "linear", base = 0.3, reach = 0.5 }} }}
[arms.kd] # distilled from the predecessor's logits
method = "kd"
title = "Vanilla KD"
[arms.pkd] # and from its hidden states
method = "pkd"
title = "BERT-PKD"

[speed] # inference timing, before and after
batch_sizes = [1, 8] # examples per call
lengths = ["dev"] # dev examples as they are
"""


@dataclass(frozen=True)
class Wanted:
    """What the user says: training data, encoder folder, dev data, kind of task, columns with text, and the column with
    the label. What is None or empty is found in the data."""

    data: Path
    encoder: Path
    dev: Path | None = None
    kind: str | None = None
    text: tuple[str, ...] = ()
    label: str | None = None


def new_suite(file: Path, wanted: Wanted) -> str:
    """Write the suite file. Returns a line that says what was found. Raises `SuiteError`; nothing is written then."""
    if file.suffix != ".toml":
        raise SuiteError(f"{file}: a suite file ends in .toml: choose another name")
    if file.exists():
        raise SuiteError(f"{file} is there already: choose another name, or remove it")
    if not file.absolute().parent.is_dir():
        raise SuiteError(f"{file}: there is no folder {file.absolute().parent}: make it first")
    own = _own(wanted)
    name = re.sub(r"[^a-z0-9]+", "-", file.stem.lower()).strip("-")[:60] or "own"
    if name in available() or name in TASKS:
        name = f"{name}-own"
    facts = own_source(name, own).facts
    assert facts is not None
    _write(file, _text(file, name, wanted, own, facts))
    columns = " and ".join(repr(column) for column in own.columns)
    label = "" if kinds.find(own.task_kind).chunked else f", label in {own.label!r}"
    return f"{file}: text in {columns}{label}: {facts.line()}; next: python -m benchmarks plan {file}"


def _own(wanted: Wanted) -> OwnData:
    known = (*kinds.names(), REGRESSION)
    if wanted.kind not in (None, *known):
        raise SuiteError(f"--kind {wanted.kind}: {nearest(str(wanted.kind), known)}")
    rows = read_file(wanted.data, wanted.data.name)
    kind, label = wanted.kind, NO_LABEL
    if kind in (None, REGRESSION) or not kinds.find(str(kind)).chunked:
        label = label_column(rows, wanted.label)
        kind = kind or kind_of(rows.columns[label][0])
    columns = text_columns(rows, wanted.text, label)
    dev = os.path.abspath(wanted.dev) if wanted.dev else None
    try:
        return OwnData(train=os.path.abspath(wanted.data), dev=dev, kind=kind, columns=columns, label=label)
    except ValidationError as error:
        raise SuiteError(first_line(error)) from None


def _write(file: Path, text: str) -> None:
    """Load the file and find its encoder under another name first."""
    trial = file.with_name(f".{file.stem}.new.toml")
    try:
        trial.write_text(text, encoding="utf-8")
        find_encoder(load_suite(str(trial)).encoder)
        os.replace(trial, file)
    finally:
        trial.unlink(missing_ok=True)


def _text(file: Path, name: str, wanted: Wanted, own: OwnData, facts: Facts) -> str:
    layers, hidden = _shape(wanted.encoder)
    rows, called = facts.rows[TRAIN], wanted.encoder.absolute().name
    epochs = min(MOST, max(FEWEST, math.ceil(SEEN / rows)))
    rate, deep_rate = next(rates for width, rates in RATES if hidden >= width)
    half = half_of(layers)
    return TEMPLATE.format(
        file=file.name, name=_toml(name), title=_toml(f"{name}: {layers} to {half} layers"), layers=layers,
        description=_toml(f"{wanted.data.name} ({facts.kind}) with {called}."), successor=half,
        held_out=0 if kinds.find(own.task_kind).windows else 0.1,
        name_of_task=name, task="\n".join(_task(file, wanted, own, facts)), encoder_name=_toml(called),
        encoder=_toml(str(wanted.encoder.absolute())), hidden=hidden, epochs=epochs, seen=epochs * rows,
        batch=32 if rows >= 1_000 else 16, rate=rate, deep_rate=deep_rate,
    )  # fmt: skip


def _task(file: Path, wanted: Wanted, own: OwnData, facts: Facts) -> Iterator[str]:
    yield f"train = {_toml(_relative(wanted.data, file))} # relative to this file"
    if wanted.dev:
        yield f"dev = {_toml(_relative(wanted.dev, file))} # scored, never trained on"
    else:
        yield "dev_share = 0.1 # of the file becomes dev: scored, never trained on"
    yield f"columns = {_toml(own.columns)} # the text, a pair of texts, or the list of words"
    if not kinds.find(own.task_kind).chunked:
        yield f"label = {_toml(own.label)} # the column with the label"
    yield f"kind = {_toml(facts.kind)} # there are: {', '.join((*kinds.names(), REGRESSION))}"
    if 0 < len(facts.labels) <= NAMED:
        yield f"labels = {_toml(list(facts.labels))} # in id order"
    yield f"score = {_toml(facts.score)} # what the report compares"
    yield "max_length = 128 # tokens at which an example is cut"


def _shape(encoder: Path) -> tuple[int, int]:
    """Layers and width of an encoder, from its config."""
    place = f"encoder {encoder.absolute().name}"
    if not encoder.is_dir():
        raise SuiteError(f"{place}: {encoder} is not a folder: name a save_pretrained folder")
    config = check_model_folder(merged(encoder, place), place)
    found = [next((config[key] for key in keys if isinstance(config.get(key), int)), None) for keys in (LAYERS, WIDTH)]
    layers, hidden = found
    if layers is None or hidden is None or layers < 2 or hidden < 1:
        raise SuiteError(f"{place}: its config.json does not say how many layers, two at least, and how wide they are")
    return layers, hidden


def half_of(layers: int) -> int:
    """The largest depth that divides the encoder's and is at most half of it."""
    return max(depth for depth in range(1, layers // 2 + 1) if layers % depth == 0)


def _relative(path: Path, file: Path) -> str:
    """The path as the suite file gives it: relative if the file lies below the suite file's folder."""
    found, folder = path.absolute(), file.absolute().parent
    return str(found.relative_to(folder) if found.is_relative_to(folder) else found)


def _toml(value: str | list[str]) -> str:
    """JSON's texts are TOML's too, but for one control character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
