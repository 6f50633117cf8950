"""The sections of a suite that say where data comes from: `[data]` for GLUE, `[tasks.NAME]` for the user's own."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from benchmarks.base.config import Config
from benchmarks.tasks import kinds
from benchmarks.tasks.table import Score
from results.format import limits

Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
REGRESSION = "regression"
SCORES = ("accuracy", "matthews_correlation", "f1_accuracy", "pearson_spearman")


class Data(Config):
    """GLUE: from `path`, else from GLUE_DIR, else from the hub at `revision`. Synthetic tasks need none of it."""

    path: str | None = None
    """A local folder with `TASK/SPLIT.parquet`, the hub's names of these files, or GLUE's own TSV files."""
    dataset: str = "nyu-mll/glue"
    """The data set's name on the hub."""
    revision: Commit | None = None
    """The commit on the hub. Without a local folder it is required."""
    revision_source: str | None = None
    """How the revision is known, in words."""


class OwnData(Config):
    """A task of your own, from files or from a data set on the hub. An empty table names a built-in task."""

    kind: str | None = None
    """`"classification"`; `"regression"`; `"token-classification"`, a list of words and a list of labels a row;
    `"question-answering"`, a question, a context and answers as in SQuAD; `"sentence-embeddings"`, two texts and a
    score; `"masked-lm"` or `"causal-lm"`, a text a row and no labels. Default: one of the first two, by the labels:
    text and up to 20 different whole numbers are classes; numbers with decimals are scores."""
    title: Annotated[str, Field(min_length=1, max_length=60)] | None = None
    """The task's name in the report. Default: NAME."""
    train: str | None = None
    """The training file: `.csv`, `.tsv`, `.jsonl` (or `.json`: one object a line, or SQuAD's form) or `.parquet`,
    relative to the suite file's folder or below a variable: `"$DATA_DIR/train.parquet"`."""
    dev: str | None = None
    """The dev file. Without it `dev_share` of the training file becomes dev."""
    dev_share: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """Share of the training file that becomes dev where no dev file is given. Every run takes the same rows."""
    group: Name | None = None
    """A column: rows with the same value stay together, all in train or all in dev."""
    dataset: Name | None = None
    """A data set on the hub instead of files."""
    config: Name | None = None
    """The configuration of that data set."""
    revision: Commit | None = None
    """The commit of that data set; required with `dataset`."""
    train_split: Name = "train"
    """The split of that data set to train on."""
    dev_split: Name | None = None
    """The split of that data set that is dev. Without it `dev_share` of the training split becomes dev."""
    columns: Annotated[list[Name], Field(min_length=1, max_length=2)]
    """The column with the text, or the two columns of a pair of texts."""
    label: Name = "label"
    """The column with the label."""
    labels: Annotated[list[Name], Field(min_length=2, max_length=limits.OUTPUTS)] | None = None
    """Names of the classes in the order of their ids; the file may hold either. Default: the different values in the
    training data, sorted."""
    score: Score | None = None
    """Default: `"accuracy"` of classes, `"pearson_spearman"` of scores, `"entity_f1"` of words whose labels are tags of
    entities (`B-person`), else `"token_accuracy"`; `"masked_accuracy"` of masked and `"likelihood"` (100 / perplexity)
    of causal language models. `"f1_accuracy"` and `"matthews_correlation"` are for two classes."""
    scale: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    """Lowest and highest score; others are refused. Default: as found in the training data."""
    max_length: Annotated[int, Field(ge=4, le=8192)] = 128
    """Tokens at which an example is cut."""
    words: Annotated[int, Field(ge=2, le=8192)] | None = None
    """A language model's texts are cut into chunks of at most so many words; each is an example. Default: 0.7 times
    `max_length`."""

    @model_validator(mode="after")
    def _consistent(self) -> OwnData:
        self._check_place()
        if len({*self.columns, self.label}) <= len(self.columns):
            raise ValueError(f"columns {self.columns} and label {self.label!r} must be different columns")
        if taken := {"label", "idx"} & set(self.columns):
            raise ValueError(f"columns: {min(taken)!r} names another column of every task: rename the text column")
        if self.labels and len(set(self.labels)) < len(self.labels):
            raise ValueError("labels: a class is listed twice")
        if self.scale and not self.scale[0] < self.scale[1]:
            raise ValueError(f"scale = {self.scale}: give the lowest score, then the highest")
        self._check_kind()
        return self

    def _check_place(self) -> None:
        if (self.train is None) == (self.dataset is None):
            raise ValueError("name either train, the path of a file, or dataset, a data set on the hub")
        if self.dataset and (self.dev or self.revision is None):
            raise ValueError("a dataset needs its revision (40 hex digits), and dev_split instead of dev")
        if self.train and (self.config or self.revision or self.dev_split):
            raise ValueError("config, revision and dev_split belong to a dataset on the hub, not to a file")
        if self.group and (self.dev or self.dev_split):
            raise ValueError("group decides which rows become dev, but dev is given: leave out one of them")

    def _check_kind(self) -> None:
        if self.words and not kinds.find(self.task_kind).chunked:
            raise ValueError(f"words = {self.words} is for language models: their texts are cut into chunks")
        if self.task_kind != kinds.CLASSIFICATION:
            return kinds.find(self.task_kind).check_settings(self)
        if self.score not in (None, *SCORES):
            raise ValueError(f"score = {self.score} is not of classification or regression: {', '.join(SCORES)}")
        said = {self.kind} if self.kind else set()
        said |= {"classification"} if self.labels else set()
        said |= {"regression"} if self.scale else set()
        if self.score:
            said.add("regression" if self.score == "pearson_spearman" else "classification")
        if len(said) > 1:
            raise ValueError(
                "labels and their scores are for classification, scale and pearson_spearman for regression"
            )
        if self.labels and self.score in ("f1_accuracy", "matthews_correlation") and len(self.labels) != 2:
            raise ValueError(f"score = {self.score} is for two classes, not {len(self.labels)}: take accuracy")
        return None

    @property
    def task_kind(self) -> str:
        """The name of its kind (benchmarks/tasks/kinds). Raises `SuiteError` for an unknown one."""
        if self.kind in (None, kinds.CLASSIFICATION, REGRESSION):
            return kinds.CLASSIFICATION
        kinds.module_of(str(self.kind))
        return str(self.kind)

    @property
    def stated_kind(self) -> str | None:
        """The kind, if the settings leave no other."""
        if self.kind:
            return self.kind
        if self.labels or self.score not in (None, "pearson_spearman"):
            return "classification"
        return "regression" if self.scale or self.score else None
