"""Which code made a number: a hash of the definitions that a run's method reaches.

    code_hash("kd", "classification")                 # part of every KD run's id
    hash_of("benchmarks.tasks.data")                  # part of a cache's key

A run's id must change when the code that computes its numbers changes, and at no other time: an id that follows an
error message or a file's name makes finished work stale. So the hash covers the code of each definition that the
entrances reach, without the parts that cannot move a number:

- Names of modules and import lines. Every name of ours is written as the definition's bare name, whatever file it is in
  and however it was imported; two definitions of one name differ by the hashes of what they use, to any depth.
- Comments, docstrings, annotations, the arguments of `raise` and the message of `assert`.

A class counts with all its members, because a library or a string may call any of them; of a method's own file and of
`benchmarks.training` everything counts. References are followed inside `COMPUTES` only: code elsewhere finds, checks,
stores, schedules or prints. The places elsewhere that do pass numbers on are entrances themselves.
"""

from __future__ import annotations

import hashlib
from functools import cache

from benchmarks.base.definitions import Key, Unit, module_of, unit_of
from benchmarks.base.errors import ROOT
from results.format.layout import digest

# The rooms and modules whose code can move a number. A room's settings.py holds values that config.json has.
COMPUTES = ("theseus", "baselines", "benchmarks.training", "benchmarks.tasks.metrics", "benchmarks.tasks.kind",
            "benchmarks.tasks.kinds", "benchmarks.tasks.language_model", "benchmarks.tasks.tokens",
            "benchmarks.tasks.spans", "benchmarks.tasks.bi_encoder", "benchmarks.tasks.pooling",
            "benchmarks.models.loading", "benchmarks.machine.device", "results.format.scores")  # fmt: skip
TRAINING = tuple(
    f"benchmarks.training.{file.stem}"
    for file in sorted((ROOT / "benchmarks" / "training").glob("*.py"))
    if file.stem not in ("__init__", "settings")
)
# Where a run enters them, and how it gets there: its data, its models, and the steps from one to the next.
ENTRANCES = (
    *TRAINING, "benchmarks.models.loading:load_pretrained", "benchmarks.models.loading:load_finetuned",
    "benchmarks.models.loading:load_tokenizer", "benchmarks.models.source:EncoderSource", "baselines:find",
    "benchmarks.machine.workers:start_worker", "benchmarks.machine.device:apply", "benchmarks.tasks.table:Task",
    "benchmarks.tasks.data:load_splits", "benchmarks.tasks.data:read_split", "benchmarks.tasks.data:_from_hub",
    "benchmarks.runs.tokens", "benchmarks.runs.predecessor_outputs:CachedOutputs",
    "benchmarks.runs.predecessor_outputs:kept_outputs", "benchmarks.plans.run:Run",
    "results.format.documents.suite:PROTOCOLS", "benchmarks.runs.execute:weights_of", "benchmarks.runs.execute:_train",
    "benchmarks.runs.execute:_write", "benchmarks.runs.execute:given_of",
    "benchmarks.runs.execute:fit_of", "benchmarks.runs.execute:computed", "benchmarks.runs.execute:outcome_of",
)  # fmt: skip


@cache
def code_hash(method: str, kind: str) -> str:
    """sha256 of all our code that can change a number of a run of `method` on a `kind` of task. The code of other
    methods and kinds is not part of it: mending one rival leaves the others' numbers valid."""
    return hash_of(*ENTRANCES, f"baselines.{method}", f"benchmarks.tasks.kinds.{kind.replace('-', '_')}")


@cache
def hash_of(*roots: str) -> str:
    """sha256 of the definitions that these roots reach: modules ("a.b") or definitions ("a.b:f"). Raises `ValueError`
    for a root that does not exist."""
    units = _reached(roots)
    own = {key: hashlib.sha256(unit.text.encode()).hexdigest() for key, unit in units.items() if unit.text}
    kinds = 0
    while len(set(own.values())) > kinds:  # until no two that differ in what they use, however far down, look alike
        kinds = len(set(own.values()))
        own = {key: digest([text, [own.get(use, use[1]) for use in units[key].uses]]) for key, text in own.items()}
    return digest(sorted(own.values()))


def reached(*roots: str) -> frozenset[str]:
    """The definitions behind `hash_of`, as "module:name"."""
    return frozenset(f"{module}:{name}" for module, name in _reached(roots))


def _reached(roots: tuple[str, ...]) -> dict[Key, Unit]:
    entrances = [key for root in roots for key in _keys(root)]
    rooms = (*COMPUTES, *(root for root in roots if ":" not in root))
    units: dict[Key, Unit] = {}
    todo = list(entrances)
    while todo:
        key = todo.pop()
        module, name = key
        # a module's loose statements run whenever it is imported, so they count in every room
        inside = key in entrances or not name or any(module == room or module.startswith(f"{room}.") for room in rooms)
        settings = module.startswith("benchmarks.") and module.endswith(".settings")
        if key in units or not inside or settings or (unit := unit_of(*key)) is None:
            continue
        units[key] = unit
        todo += [*unit.uses, *unit.reads, (module, ""), *((package, "") for package in _packages(module))]
    return units


def _packages(module: str) -> list[str]:
    """The packages around a module, whose files run when it is imported."""
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _keys(root: str) -> list[Key]:
    module, _, name = root.partition(":")
    known = module_of(module)
    if known is None or (name and name not in known.defined):
        raise ValueError(f"{root}: there is no such module or definition")
    return [(module, defined) for defined in ([name] if name else ["", *known.defined]) if defined != "__all__"]
