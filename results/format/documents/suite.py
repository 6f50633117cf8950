"""suite.json: the plan of a suite, with every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from results.format.documents.codec import ByName, Each, Key, Nested, as_is, truth, words
from results.format.errors import ReportError
from results.format.untrusted import flat, number, shown, slug, whole

PROTOCOLS = ("last", "selected", "held_out")
STATISTICS = ("mean", "median")
TABLES = (2, 4, 5, 6, 7)  # the paper's tables of dev scores
OWN_ROWS = ("BERT-of-Theseus", "Theseus", "Curriculum", "BERT-of-Theseus (MNLI)")


def _one_of(known: tuple[str, ...]) -> Key:
    """One of some words; the first one if the file lacks the key."""

    def read(value: Any, where: str) -> Any:
        if value not in known:
            raise ReportError(f"{where} must be one of {', '.join(known)}, not {shown(value)}; correct the suite")
        return value

    return Key(read, absent=known[0])


def _table(value: Any, where: str) -> int | None:
    table = whole(value, where)
    if table is not None and table not in TABLES:
        raise ReportError(f"{where}: table {table} has no dev scores in the paper; name one of {TABLES} or none")
    return table


def _share(value: Any, where: str) -> float:
    share = number(value, where) or 0.0
    if not 0 <= share < 1:
        raise ReportError(f"{where}: {share:g} is not a share of train; it must be at least 0 and below 1")
    return share


def _method(value: Any, where: str) -> str:
    return slug(value, where) if value != "" else ""  # an empty one is replaced by the arm's name


def _trials(value: Any, where: str) -> tuple[Mapping[str, Any], ...]:
    return Each(flat)(value, where) or ({},)


def _or_zero(value: Any, where: str) -> int:
    return whole(value, where) or 0


@dataclass(frozen=True)
class Task:
    """One task of a suite. `published`: its column in the paper's tables, or None."""

    name: Annotated[str, Key(slug)]
    title: Annotated[str, Key(words(60))]
    published: Annotated[str | None, Key(words(60, None))]
    score: Annotated[str, Key(words(120))]
    in_macro: Annotated[bool, Key(truth, absent=True)]
    train_examples: Annotated[int | None, Key(whole)]
    dev_examples: Annotated[Mapping[str, int | None], Key(ByName(words(60), whole))]
    notes: Annotated[tuple[str, ...], Key(Each(words(500)))]


@dataclass(frozen=True)
class Arm:
    """One method with its hyper-parameters. `published`: its row in the paper's tables, or None.

    `group` and `x` are its line and place in a sweep. `trials` are the settings that a search tried; without a search
    there is one empty trial. `origin` is empty, `imported` or `partly imported` (results/format/imported.py).
    """

    name: Annotated[str, Key(slug)]
    title: Annotated[str, Key(words(60))]
    method: Annotated[str, Key(_method, absent="")]
    layers: Annotated[int | None, Key(whole)]
    published: Annotated[str | None, Key(words(60, None))]
    group: Annotated[str | None, Key(words(60, None))] = None
    x: Annotated[float | None, Key(number)] = None
    trials: Annotated[tuple[Mapping[str, Any], ...], Key(_trials)] = ({},)
    origin: str = ""

    @property
    def is_predecessor(self) -> bool:
        """True for the deep model that the other arms start from."""
        return self.method == "predecessor"

    @property
    def is_theseus(self) -> bool:
        """True for the paper's own method, also if another method trains its successor further (table 4)."""
        return self.method == "theseus" or (self.published or "").startswith("BERT-of-Theseus")


def leading_theseus(arms: Sequence[Arm]) -> str | None:
    """The name of the arm that represents the paper's own method: its plain form, else the first variant."""
    arms = [arm for arm in arms if arm.is_theseus]
    named = [arm for arm in arms if arm.name == "theseus" or arm.published in OWN_ROWS]
    return next((arm.name for arm in [*named, *arms]), None)


@dataclass(frozen=True)
class SuiteEncoder:
    """The pretrained model of every arm that does not name its own."""

    name: Annotated[str | None, Key(words(300, None))] = None
    revision: Annotated[str | None, Key(words(300, None))] = None
    layers: Annotated[int | None, Key(whole)] = None
    hidden_size: Annotated[int | None, Key(whole)] = None


@dataclass(frozen=True)
class Planned:
    """One planned run; `trial` is an index into its arm's trials, `folder` is relative to the results folder."""

    run_id: Annotated[str, Key(slug)]
    task: Annotated[str, Key(slug)]
    arm: Annotated[str, Key(slug)]
    method: Annotated[str, Key(slug)]
    seed: Annotated[int, Key(whole)]
    trial: Annotated[int, Key(_or_zero)]
    folder: Annotated[str, Key(as_is)]  # `reader` checks that it stays inside the results folder


@dataclass(frozen=True)
class Contrast:
    """A question that the suite asks: whether the arm `first` is above the arm `second`."""

    question: Annotated[str, Key(words(200))]
    first: Annotated[str, Key(slug)]
    second: Annotated[str, Key(slug)]


@dataclass(frozen=True)
class Registered:
    """Seeds and questions as the suite planned them, and how many runs had a result when it did (0: before the first;
    None: unknown, for a folder that is older than this record)."""

    seeds: Annotated[tuple[int, ...], Key(Each(_or_zero))]
    after_runs: Annotated[int | None, Key(whole)] = 0
    contrasts: Annotated[tuple[Contrast, ...], Key(Each(Nested(Contrast)))] = ()


@dataclass(frozen=True)
class Suite:
    """suite.json.

    `table`: the paper's table to compare with; `held_out`: the share of train that is set aside to choose checkpoints;
    `steps`: arms of an attribution experiment, each one change away from the one before; `registered`: the seeds as
    planned, with an entry for each time that they were changed after a look at results; `resolved`: the suite file with
    all defaults.
    """

    name: Annotated[str, Key(slug)]
    title: Annotated[str, Key(words(300))]
    description: Annotated[str, Key(words(4000))]
    synthetic: Annotated[bool, Key(truth)]
    comparable: Annotated[bool, Key(truth)]
    comparison: Annotated[str, Key(words(2000))]
    table: Annotated[int | None, Key(_table)]
    protocol: Annotated[str, _one_of(PROTOCOLS)]
    statistic: Annotated[str, _one_of(STATISTICS)]
    held_out: Annotated[float, Key(_share)]
    unequal_budget: Annotated[bool, Key(truth)]
    steps: Annotated[tuple[str, ...], Key(Each(slug))]
    contrasts: Annotated[tuple[Contrast, ...], Key(Each(Nested(Contrast)))]
    x_title: Annotated[str | None, Key(words(60, None))]
    encoder: Annotated[SuiteEncoder, Key(Nested(SuiteEncoder))]
    successor_layers: Annotated[int | None, Key(whole)]
    tasks: Annotated[tuple[Task, ...], Key(Each(Nested(Task)))]
    arms: Annotated[tuple[Arm, ...], Key(Each(Nested(Arm)))]
    seeds: Annotated[tuple[int, ...], Key(Each(_or_zero))]
    predecessor_per_seed: Annotated[bool, Key(truth)]
    registered: Annotated[tuple[Registered, ...], Key(Each(Nested(Registered)))] = ()
    runs: Annotated[tuple[Planned, ...], Key(Each(Nested(Planned)))] = ()
    resolved: Annotated[Mapping[str, Any], Key(as_is)] = field(default_factory=dict)

    @property
    def asked_beforehand(self) -> bool:
        """Whether the questions were on record before the first result."""
        return any(r.after_runs == 0 and set(r.contrasts) == set(self.contrasts) for r in self.registered[:1])

    @property
    def depths(self) -> tuple[int, ...]:
        """The depths of the trained successors, deepest first; empty if they are not recorded."""
        found = {arm.layers for arm in self.arms if not arm.is_predecessor and arm.layers}
        return tuple(sorted(found, reverse=True)) or ((self.successor_layers,) if self.successor_layers else ())

    def arm(self, name: str) -> Arm:
        return next(arm for arm in self.arms if arm.name == name)
