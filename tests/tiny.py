"""Small real things for tests: models of several architectures, an encoder folder, a GLUE folder, a suite file.

Nothing here is a mock: the models are transformers' own classes with few small layers, the data has GLUE's columns,
labels and row counts.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from datasets import ClassLabel, Dataset, Features, Value
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

from baselines.method import Given
from benchmarks.machine.settings import Device
from benchmarks.tasks.table import Task, find_task
from benchmarks.tasks.tokens import Tokens
from benchmarks.training.forward import predecessor_outputs

CPU = Device(device="cpu", threads=1)
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(60))]
# As the files of GLUE's download begin: folder, header, and a row of texts, label and number.
TSV_LINES = {
    "cola": ("CoLA", "", "gj04\t{label}\t\t{0}"),
    "mrpc": ("MRPC", "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String", "{label}\t17\t18\t{0}\t{1}"),
    "rte": ("RTE", "index\tsentence1\tsentence2\tlabel", "{idx}\t{0}\t{1}\t{name}"),
    "stsb": ("STS-B", "index\tgenre\tsentence1\tsentence2\tscore", "{idx}\tnews\t{0}\t{1}\t{label}"),
    "wnli": ("WNLI", "index\tsentence1\tsentence2\tlabel", "{idx}\t{0}\t{1}\t{label}"),
}
SHAPE = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": len(WORDS)}


def bert(layers: int = 4, labels: int = 2, seed: int = 0, dropout: float = 0.0) -> BertForSequenceClassification:
    """A small random BERT classifier, float32, eval mode."""
    torch.manual_seed(seed)
    config = BertConfig(
        **SHAPE, num_hidden_layers=layers, num_labels=labels, max_position_embeddings=64, initializer_range=0.3,
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
    )  # fmt: skip
    return BertForSequenceClassification(config).eval()


def batch(seed: int = 0, size: int = 4, length: int = 9, labels: int = 2) -> dict[str, torch.Tensor]:
    """Inputs with padding in one row, and labels."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, len(WORDS), (size, length), generator=generator)
    mask = torch.ones_like(ids)
    ids[0, length - 3 :], mask[0, length - 3 :] = 0, 0
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.randint(0, labels, (size,), generator=generator)}


def inputs() -> dict[str, torch.Tensor]:
    """The batch without its labels."""
    made = batch()
    made.pop("labels")
    return made


def given(dropout: float = 0.0, layers: int = 2, gates_seed: int = 5, depth: int = 4) -> Given:
    """What the runner hands to `build`: small models of other weights each, for a run of 12 steps."""
    return Given(
        predecessor=lambda: bert(depth, seed=1, dropout=dropout),
        pretrained=lambda: bert(depth, seed=2, dropout=dropout),
        layers=layers,
        gates_seed=gates_seed,
        steps=12,
    )


def tokens(examples: int = 40, labels: int = 2, seed: int = 0, regression: bool = False) -> Tokens:
    """A tokenised split of random sentences of 4 to 20 words."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(4, 21, (examples,), generator=generator)
    ids = torch.randint(5, len(WORDS), (int(lengths.sum()),), generator=generator)
    classes = torch.randint(0, labels, (examples,), generator=generator)
    return Tokens(
        ids=ids,
        types=torch.zeros_like(ids),
        offsets=torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]),
        labels=torch.rand(examples, generator=generator) * 5 if regression else classes,
        idx=torch.arange(examples),
        pad_id=0,
    )


def outputs(method: Any, predecessor: Any, split: Tokens, layers: int, device: Device = CPU) -> dict[str, torch.Tensor]:
    """What `method` needs of `predecessor` to train a successor of `layers` layers on `split`."""
    needs = method.needs(predecessor.config.num_hidden_layers, layers)
    return predecessor_outputs(predecessor, split, needs, device) if needs else {}


def save_encoder(folder: Path, layers: int = 4) -> Path:
    """A `save_pretrained` folder: headless BERT and a word-level tokenizer."""
    torch.manual_seed(0)
    config = BertConfig(**SHAPE, num_hidden_layers=layers, max_position_embeddings=64)
    BertModel(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)  # fmt: skip
    return folder


def glue_rows(task: Task, split: str) -> Dataset:
    """A split with the task's columns, label names and official row count; the label can be read off the words."""
    count = task.train_rows if split == "train" else task.dev[split]
    source = random.Random(f"{task.name}/{split}")
    labels = [source.randrange(len(task.labels)) if task.labels else source.uniform(0, 5) for _ in range(count)]
    rows: dict[str, list[Any]] = {
        column: [f"w{int(label * 9)} " + " ".join(source.choices(WORDS[5:], k=5)) for label in labels]
        for column in task.columns
    }
    kind = Value("float32") if task.regression else ClassLabel(names=list(task.labels))
    features = Features({**{c: Value("string") for c in task.columns}, "label": kind, "idx": Value("int32")})
    return Dataset.from_dict({**rows, "label": labels, "idx": list(range(count))}, features=features)


def save_glue(folder: Path, *names: str) -> Path:
    """A GLUE_DIR with the named tasks' train and dev splits."""
    for name in names:
        task = find_task(name)
        (folder / name).mkdir(parents=True, exist_ok=True)
        for split in ("train", *task.dev):
            glue_rows(task, split).to_parquet(folder / name / f"{split}.parquet")
    return folder


def save_tsv(glue: Path, name: str, target: Path) -> Path:
    """A folder as GLUE's download, with the rows of `glue`."""
    task, (folder, header, line) = find_task(name), TSV_LINES[name]
    (target / folder).mkdir(parents=True)
    for split, file in (("train", "train.tsv"), ("validation", "dev.tsv")):
        lines = [header] if header else []
        for row in pq.read_table(glue / name / f"{split}.parquet").to_pylist():
            texts = [row[column] for column in task.columns]
            named = task.labels[row["label"]] if task.labels else ""
            lines.append(line.format(*texts, label=row["label"], idx=row["idx"], name=named))
        (target / folder / file).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target


def rewrite(path: Path, change: Any) -> None:
    """Apply `change` to a parquet file's table."""
    table: pa.Table = change(pq.read_table(path))
    pq.write_table(table, path)


def with_labels(table: pa.Table, labels: list[int]) -> pa.Table:
    """The table with other labels."""
    at = table.schema.get_field_index("label")
    return table.set_column(at, table.schema.field(at), pa.array(labels, table.schema.field(at).type))


def save_suite(
    folder: Path, encoder: Path, glue: Path, tasks: str = '["rte"]', extra: str = "", layers: int = 4
) -> Path:
    """A small suite file over the two folders."""
    path = folder / "tiny.toml"
    path.write_text(
        f"""
name = "tiny"
title = "A tiny suite"
description = "for tests"
tasks = {tasks}
seeds = [1, 2]
successor_layers = 2
[comparison]
reason = "a test"
[encoder]
name = "tiny"
path = "{encoder}"
layers = {layers}
hidden_size = 32
[data]
path = "{glue}"
[device]
device = "cpu"
[training]
max_steps = 6
learning_rate = 1e-3
evaluate_every = 3
[predecessor]
at_chance = "allow" # six steps teach it little
[arms.finetune]
method = "finetune"
title = "Fine-tuning"
[arms.kd]
method = "kd"
title = "KD"
[arms.pkd]
method = "pkd"
title = "PKD"
[arms.theseus]
method = "theseus"
title = "Theseus"
{extra}
""",
        encoding="utf-8",
    )
    return path
