"""The table of the shipped suites, and each suite as it is planned.

Planned on a random stand-in for the encoder, without data, so nothing is fetched and nothing has to be here.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from benchmarks.plans.planner import make_plan
from benchmarks.plans.run import Plan, Run
from benchmarks.suites.suite import Suite, load_suite

EIGHT = ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb")
SEVEN = ("mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb")
FIVE = ("cola", "mrpc", "rte", "sst2", "stsb")
THREE = ("mnli", "qnli", "qqp")
TWO = ("mrpc", "rte")
RATES = [f"{kind}-0{p}" for kind in ("lr", "elr") for p in (1, 3, 5, 7, 9)]
STEPS = {
    "finetune": "Fine-tuning",
    "finetune-long": None,
    "from-predecessor": None,
    "frozen": None,
    "constant": "Constant",
    "theseus": "BERT-of-Theseus",
    "kd": "Vanilla KD",
    "kd-from-predecessor": None,
    "pkd": "BERT-PKD",
    "pkd-from-predecessor": None,
}
READINGS = {
    "theseus-paper": "BERT-of-Theseus",
    "theseus-code": "BERT-of-Theseus",
    "theseus-readme": "BERT-of-Theseus",
    "theseus": "BERT-of-Theseus",
    "theseus-two-stage": None,
    "theseus-blend": None,
}
STARTS = {
    "finetune": "Fine-tuning",
    "finetune-top": "Fine-tuning (top 6)",
    "finetune-interleaved": "Fine-tuning (interleaved 6)",
    "theseus": "BERT-of-Theseus",
    "theseus-top": None,
    "theseus-interleaved": None,
}
SCHEDULES = {"constant": "Constant", "anti": "Anti-curriculum", "curriculum": "Curriculum"}
TRAINED = {
    "finetune": "Fine-tuning",
    "kd": "Vanilla KD",
    "pkd": "BERT-PKD",
    "layerdrop": "LayerDrop",
    "theseus": "BERT-of-Theseus",
}
WITHOUT_LAYERDROP = {name: row for name, row in TRAINED.items() if name != "layerdrop"}


def at(depth: int, rows: dict[str, str | None]) -> dict[str, tuple[str | None, int]]:
    return {name: (row, depth) for name, row in rows.items()}


# suite: (table its scores are shown beside, tasks, arm -> its row there and the depth that comes out). Table 3 is the
# server's, so that the dev scores of its suites stand beside Table 2; Figure 3 and the attribution have no table.
TABLES: dict[str, tuple[int | None, tuple[str, ...], dict[str, tuple[str | None, int]]]] = {
    "paper": (2, EIGHT, at(6, {"distilbert": "DistilBERT", "pd-bert": "PD-BERT", **TRAINED})),
    "paper-checkpoints": (
        2,
        EIGHT,
        at(
            6,
            {
                "distilbert": "DistilBERT", "distilbert-kd": None, "pd-bert": "PD-BERT", "pd-bert-kd": None,
                "tinybert": None, "tinybert-kd": None, "minilm": None, "minilm-kd": None,
            },
        ),
    ),
    "paper-readings": (2, EIGHT, at(6, READINGS)),
    "paper-init": (None, EIGHT, at(6, STARTS)),
    "paper-search": (2, EIGHT, at(6, TRAINED)),
    "paper-test": (2, EIGHT, at(6, {"pd-bert": "PD-BERT", **WITHOUT_LAYERDROP})),
    "paper-transfer": (
        4,
        SEVEN,
        at(
            6,
            {
                "distilbert": "DistilBERT", "pd-bert": "PD-BERT", "theseus-mnli": "BERT-of-Theseus (MNLI)",
                "released": None,
            },
        ),
    ),
    "paper-modules": (5, THREE, at(11, {f"module-{i}": f"module {i} replaced" for i in range(1, 7)})),
    "paper-schedules": (6, EIGHT, at(6, SCHEDULES)),
    "paper-depths": (
        7,
        EIGHT,
        {
            f"{name}-{layers}": (row, layers)
            for layers in (6, 4, 3)
            for name, row in (("finetune", "Fine-tuning"), ("theseus", "BERT-of-Theseus"))
        },
    ),
    "paper-rates": (None, TWO, at(6, dict.fromkeys(RATES))),
    "paper-attribution": (None, EIGHT, at(6, STEPS)),
    "minilm": (2, FIVE, at(3, TRAINED)),
    "minilm-readings": (2, FIVE, at(3, READINGS)),
    "minilm-init": (None, FIVE, at(3, STARTS)),
    "minilm-search": (2, FIVE, at(3, TRAINED)),
    "minilm-test": (2, FIVE, at(3, WITHOUT_LAYERDROP)),
    "minilm-transfer": (
        4,
        FIVE,
        at(
            3,
            {
                "finetune": "Fine-tuning", "theseus": "BERT-of-Theseus", "theseus-sst2": "BERT-of-Theseus (MNLI)",
            },
        ),
    ),
    "minilm-modules": (5, FIVE, at(5, dict.fromkeys(f"module-{i}" for i in range(1, 4)))),
    "minilm-schedules": (6, FIVE, at(3, SCHEDULES)),
    "minilm-depths": (
        7,
        FIVE,
        {
            f"{name}-{layers}": (row, layers)
            for layers in (3, 2)
            for name, row in (("finetune", "Fine-tuning"), ("theseus", "BERT-of-Theseus"))
        },
    ),
    "minilm-rates": (None, TWO, at(3, dict.fromkeys(RATES))),
    "minilm-attribution": (None, FIVE, at(3, STEPS)),
    "minilm-attribution-search": (None, FIVE, at(3, STEPS)),
}  # fmt: skip
TRIALS = {
    "paper-search": 16,
    "minilm-search": 4,
    "minilm-attribution-search": 4,
    "paper-schedules": 3,
    "minilm-schedules": 3,
}
PAPER = [name for name in TABLES if name.startswith("paper")]


@cache
def suite(name: str) -> Suite:
    return load_suite(name)


@cache
def plan(name: str) -> Plan:
    """One seed of the suite; of the largest searches one task, which is a plan like the others'."""
    overrides = ["encoder.random=true", "seeds=[1]"]
    for task, settings in suite(name).task.items():  # the arms as the suite says them, before a search chose
        overrides += [f"task.{task}.settings.{arm}={{}}" for arm in settings.settings if arm != "predecessor"]
    if name == "paper-search":
        overrides.append('tasks=["rte", "sst2"]')
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GLUE_DIR", raising=False)
        patch.delenv("ENCODER_DIR", raising=False)
        return make_plan(load_suite(name, overrides))


def runs(name: str, arm: str, task: str | None = None) -> list[Run]:
    return [run for run in plan(name).runs if run.arm == arm and task in (None, run.task.name)]


def rate_of(run: Run) -> Any:
    return run.build().rate.rate(run.steps)


# Suites of a user's kind of data instead of a table of the paper: the twins of published Theseus models.
KINDS = {
    "minilm-ner": {"token-classification"},
    "minilm-nli": {"classification"},
    "minilm-pos": {"token-classification"},
    "minilm-qa": {"question-answering"},
    "minilm-sts": {"sentence-embeddings"},
}
