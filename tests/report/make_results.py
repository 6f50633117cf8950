"""Write small results folders in the format of docs/results.md, for tests and for looking at a page.

    python tests/report/make_results.py OUT [--kind full|glue|minilm|synthetic|partial|single
                                                    |steps|depths|search|sweep|modules|schedules|transfer|predictions]

Scores come from a fixed table plus a pseudo-random seed effect that is shared by the arms, so paired
differences are steadier than the arms themselves, as in real sweeps. Nothing here is a measurement.
"""

import argparse
import hashlib
import json
import random
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for a start by its path
from tests.report.make_predictions import answers, write_predictions
from tests.report.make_speed import speed_conditions, variants_of

TASKS: dict[str, dict[str, Any]] = {
    "cola": {
        "title": "CoLA",
        "metrics": ["matthews_correlation"],
        "train": 8551,
        "dev": {"validation": 1043},
        "spread": 1.1,
    },
    "mrpc": {"title": "MRPC", "metrics": ["accuracy", "f1"], "train": 3668, "dev": {"validation": 408}, "spread": 0.9},
    "rte": {"title": "RTE", "metrics": ["accuracy"], "train": 2490, "dev": {"validation": 277}, "spread": 1.3},
    "mnli": {
        "title": "MNLI",
        "metrics": ["accuracy_matched", "accuracy_mismatched"],
        "train": 392702,
        "dev": {"validation_matched": 9815, "validation_mismatched": 9832},
        "spread": 0.25,
    },
    "sst2": {"title": "SST-2", "metrics": ["accuracy"], "train": 67349, "dev": {"validation": 872}, "spread": 0.5},
    "stsb": {
        "title": "STS-B",
        "metrics": ["pearson", "spearman"],
        "train": 5749,
        "dev": {"validation": 1500},
        "spread": 0.4,
    },
    "qnli": {"title": "QNLI", "metrics": ["accuracy"], "train": 104743, "dev": {"validation": 5463}, "spread": 0.3},
    "qqp": {
        "title": "QQP",
        "metrics": ["accuracy", "f1"],
        "train": 363846,
        "dev": {"validation": 40430},
        "spread": 0.15,
    },
}
ARMS: dict[str, dict[str, Any]] = {
    "predecessor": {"title": "Predecessor", "method": "predecessor", "published": "BERT-base"},
    "finetune": {"title": "Fine-tuning", "method": "finetune", "published": "Fine-tuning"},
    "kd": {"title": "Vanilla KD", "method": "kd", "published": "Vanilla KD"},
    "pkd": {"title": "BERT-PKD", "method": "pkd", "published": "BERT-PKD"},
    "theseus": {"title": "BERT-of-Theseus", "method": "theseus", "published": "BERT-of-Theseus"},
}
CENTRE = {
    "cola": (54.3, 43.4, 45.1, 45.5, 47.9), "mrpc": (89.5, 86.0, 86.2, 85.7, 87.4),
    "rte": (71.1, 62.1, 64.9, 66.5, 66.9),
    "mnli": (83.5, 80.1, 80.4, 81.3, 81.9), "sst2": (91.5, 89.6, 90.5, 91.3, 91.2),
    "stsb": (88.9, 81.9, 84.9, 86.2, 88.0),
    "qnli": (91.2, 86.9, 88.0, 88.4, 89.1), "qqp": (89.8, 87.8, 88.1, 88.4, 89.3),
}  # fmt: skip
# (task, arm, seed), with the trial's index behind it where an arm is searched
Key = tuple[str, str, int] | tuple[str, str, int, int]
PARAMETERS = {12: 109_483_778, 11: 102_395_906, 6: 66_955_010, 4: 52_779_266, 3: 45_691_394}


def number(*parts: object) -> random.Random:
    """A generator that depends on nothing but its arguments."""
    return random.Random(hashlib.sha256(repr(parts).encode()).hexdigest())


def known(arm: str) -> str | None:
    """The arm of `ARMS` that a name such as `theseus-4` is a variant of, or None."""
    return next((name for name in (arm, arm.split("-")[0]) if name in ARMS), None)


def score(task: str, arm: str, seed: int, trial: int = 0) -> float:
    """A plausible score, 0 to 100, the same for the same arguments; 60 for an arm that is no variant of `ARMS`."""
    base = known(arm)
    if base is None:
        return 60.0
    spread = TASKS[task]["spread"]
    shared, own = number("seed", task, seed).gauss(0, 1), number("own", task, arm, seed).gauss(0, 1)
    moved = 0.0 if arm in ARMS else number("arm", arm).gauss(-1, 1)
    moved += number("trial", task, arm, trial).gauss(-1, 1) if trial else 0.0
    return CENTRE[task][list(ARMS).index(base)] + moved + spread * (0.7 * shared + 0.55 * own)


def run_id(task: str, arm: str, seed: int, trial: int = 0) -> str:
    """Sixteen hex digits, as the suite's ids are."""
    extra = f"/{trial}" if trial else ""
    return hashlib.sha256(f"{task}/{arm}/{seed}{extra}".encode()).hexdigest()[:16]


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


SUITE: dict[str, Any] = {
    "schema": 1, "name": "glue", "title": "GLUE with BERT-base, 12 to 6 layers",
    "description": "Four ways to halve the depth of a fine-tuned encoder, trained by one runner on the same "
    "batches, dropout stream and classifier for each seed.",
    "synthetic": False, "comparable": True,
    "comparison": "Same encoder, depth and metrics as table 2 of the paper; its numbers are medians of five runs.",
    "protocol": "last", "statistic": "mean",
    "encoder": {"name": "bert-base-uncased", "revision": "86b5e093", "layers": 12, "hidden_size": 768},
    "successor_layers": 6, "predecessor_per_seed": False, "resolved": {},
}  # fmt: skip


def make_results(
    root: Path,
    tasks: Iterable[str] = ("cola", "mrpc", "rte", "sst2"),
    arms: Iterable[str] = tuple(ARMS),
    seeds: Iterable[int] = (1, 2, 3),
    outcomes: Mapping[Key, str] | None = None,
    scores: Mapping[Key, float] | None = None,
    speed: bool = True,
    speed_decided: bool = True,
    speed_variants: bool = False,
    suite: Mapping[str, Any] | None = None,
    manifest: Mapping[str, Any] | None = None,
    arm_changes: Mapping[str, Mapping[str, Any]] | None = None,
    held_out: Mapping[Key, tuple[float, float]] | None = None,
    predictions: bool = False,
) -> Path:
    """Write a results folder into `root`. `outcomes` marks runs diverged, failed or missing, `scores`
    fixes single scores, and `suite`, `manifest` and `arm_changes` are merged over suite.json, every manifest,
    and arms. An arm whose change has `trials` runs each of them. Where the suite sets data aside, or
    `held_out` fixes a run's (dev, held-out) scores, results have a held-out checkpoint. With `predictions` runs
    have predictions.parquet, and the scores are those that the predictions really have."""
    document: dict[str, Any] = {**SUITE, "seeds": list(seeds), **(suite or {})}
    document["tasks"] = [task_entry(name, document["synthetic"]) for name in tasks]
    document["arms"] = [arm_entry(name, document, arm_changes or {}) for name in arms]
    document["runs"] = []
    for task in document["tasks"]:
        for arm in document["arms"]:
            shared = arm["method"] == "predecessor" and not document["predecessor_per_seed"]
            for seed in document["seeds"][:1] if shared else document["seeds"]:
                for trial in range(len(arm.get("trials", [{}]))):
                    key: Key = (task["name"], arm["name"], seed, trial) if "trials" in arm else (
                        task["name"], arm["name"], seed)  # fmt: skip
                    run = run_entry(key, arm["method"])
                    document["runs"].append(run)
                    outcome = (outcomes or {}).get(key, "done")
                    if outcome != "missing":
                        value = (scores or {}).get(key, score(*key))
                        folder, apart = root / run["folder"], held_out_pair(key, value, document, held_out or {})
                        write_run(folder, document, arm, key, outcome, value, manifest or {}, apart)
                        if predictions and outcome == "done":
                            add_predictions(folder, key)
    write(root / "suite.json", document)
    if speed:
        timed = {"schema": 1, "conditions": speed_conditions(document, speed_decided)}
        write(root / "speed.json", variants_of(document, timed) if speed_variants else timed)
    return root


def task_entry(name: str, synthetic: bool) -> dict[str, Any]:
    """A task of suite.json."""
    task = TASKS[name]
    return {
        "name": name, "title": task["title"], "published": None if synthetic else task["title"],
        "score": " and ".join(task["metrics"]), "in_macro": True, "train_examples": task["train"],
        "dev_examples": task["dev"], "notes": [],
    }  # fmt: skip


def arm_entry(name: str, suite: Mapping[str, Any], changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """An arm of suite.json; an unknown name becomes an unpublished arm of method kd."""
    layers = suite["encoder"]["layers"] if name == "predecessor" else suite["successor_layers"]
    entry = ARMS.get(name, {"title": name, "method": "kd", "published": None})
    return {"name": name, "layers": layers, **entry, **changes.get(name, {})}


def run_entry(key: Key, method: str) -> dict[str, Any]:
    """A run of suite.json; `trial` is there only for a searched arm, as in folders of before there was search."""
    task, arm, seed = key[:3]
    identity = run_id(*key)
    folder = f"{task}/{method}/seed-{seed}-{identity}"
    trial = {"trial": key[3]} if len(key) == 4 else {}
    return {"run_id": identity, "task": task, "arm": arm, "method": method, "seed": seed, "folder": folder} | trial


def held_out_pair(
    key: Key, value: float, suite: Mapping[str, Any], fixed: Mapping[Key, tuple[float, float]]
) -> tuple[float, float] | None:
    """Dev and held-out score of the checkpoint that held-out data chose, None where nothing is set aside."""
    if key in fixed:
        return fixed[key]
    if not suite.get("held_out"):
        return None
    return value + number("apart", *key).gauss(0, 0.2), value + 1.5 + number("set aside", *key).gauss(0, 0.4)


def write_run(
    folder: Path, suite: Mapping[str, Any], arm: Mapping[str, Any], key: Key, outcome: str,
    value: float, manifest: Mapping[str, Any], apart: tuple[float, float] | None,
) -> None:  # fmt: skip
    """One run folder: config, manifest, result and the evaluations on the way."""
    task, name, seed = key[:3]
    identity = run_id(*key)
    layers, done, steps = arm["layers"], outcome == "done", 600
    device = {"device": "cuda", "precision": "bfloat16", "threads": 8}
    lift = 0.35 * number("lift", *key).random()
    last = {"step": steps, "epoch": 3.0, "metrics": metrics(task, value), "score": value, "flags": []}
    best = last | {"step": 400, "epoch": 2.0, "metrics": metrics(task, value + lift), "score": value + lift}
    held_out = {}
    if apart is not None:
        chosen = last | {"metrics": metrics(task, apart[0]), "score": apart[0], "held_out_score": apart[1]}
        held_out = {"held_out": chosen if done else None}
    parameters = PARAMETERS.get(layers, 17_390_210)
    trainable = 42_527_232 if arm["method"] == "theseus" else parameters
    seconds = (61.0 if layers == 12 else 44.0 if name == "finetune" else 52.0) + number("t", *key).random()
    write(folder / "config.json", {
        "schema": 1, "suite": suite["name"], "task": task, "method": arm["method"], "arm": name, "seed": seed,
        "layers": layers, "options": {}, "training": {"epochs": 3, "batch_size": 32, "learning_rate": 2e-5},
        "device": device, "data": {"max_length": 128, "fingerprint": f"data-{task}"}, "encoder": {"hash": "enc"},
        "predecessor": None, "code": "c0de",
    })  # fmt: skip
    write(folder / "manifest.json", {
        "schema": 1, "run_id": identity, "started": "2026-11-01T08:00:00+00:00",
        "finished": "2026-11-01T08:01:00+00:00",
        "code_commit": "5f1c2d7a9be04c0f", "code_dirty": False, "code_hash": "c0de",
        "packages": {"torch": "2.13.0", "transformers": "5.23.0", "numpy": "2.4.6", "datasets": "5.2.0"},
        "python": "3.11.2", "platform": "Linux-x86_64", "device_name": "one 80 GB accelerator", "device": device,
        "data_fingerprint": f"data-{task}", "encoder_hash": "enc", "predecessor": None, "lock_hash": "10c4",
        "determinism_probe": None, "peak_memory_bytes": 3_100_000_000,
    } | dict(manifest))  # fmt: skip
    write(folder / "result.json", {
        "schema": 1, "run_id": identity, "status": outcome, "reason": None if done else "loss became nan at step 41",
        "last": last if done else None, "selected": best if done else None, "evaluations": 12 if done else 1,
        "steps": steps if done else 41, "epochs": 3.0 if done else 0.2, "layers": layers, "parameters": parameters,
        "trainable_parameters": trainable, "train_seconds": seconds, "examples_per_second": 19200 / seconds,
        "peak_memory_bytes": 3_100_000_000,
    } | held_out)  # fmt: skip
    lines = [json.dumps(point(key, arm["method"], step, steps, value)) for step in range(50, steps + 1, 50)]
    (folder / "metrics.jsonl").write_text("\n".join(lines[: None if done else 1]) + "\n", encoding="utf-8")


def add_predictions(folder: Path, key: Key) -> None:
    """predictions.parquet beside a finished run, and its result.json restated by what they score."""
    result, frames = json.loads((folder / "result.json").read_text()), {}
    for name in ("last", "selected", "held_out"):
        if result.get(name):
            frames[name], found = answers(key[0], TASKS[key[0]], (key, name), result[name]["score"])
            result[name] |= {"metrics": found, "score": 100 * sum(found.values()) / len(found)}
    write(folder / "result.json", result)
    write_predictions(folder, frames)


def metrics(task: str, value: float) -> dict[str, float]:
    """Raw metrics whose mean is the score, a point apart where there are two."""
    names = TASKS[task]["metrics"]
    return {n: (value + (0.5 - i) * (len(names) - 1)) / 100 for i, n in enumerate(names)}


def point(key: Key, method: str, step: int, steps: int, value: float) -> dict[str, Any]:
    """One line of metrics.jsonl."""
    done = step / steps
    noise = number("loss", *key, step).gauss(0, 0.012)
    base = {"predecessor": 0.16, "finetune": 0.24, "kd": 0.36, "pkd": 0.44, "theseus": 0.28}.get(method, 0.3)
    rate = min(1.0, 0.3 + 0.0014 * step) if method == "theseus" else None
    current = value - 22 * (1 - done) ** 2
    return {
        "step": step, "epoch": 3 * done, "loss": base + 0.42 * (1 - done) ** 2 + noise,
        "learning_rate": 2e-5 * (1 - done),
        "replacing_rate": rate, "metrics": metrics(key[0], current), "score": current,
    }  # fmt: skip


MINILM: dict[str, Any] = {
    "name": "minilm", "title": "GLUE with MiniLM-L6, 6 to 3 layers", "comparable": False,
    "comparison": "This suite halves a 6-layer MiniLM of hidden size 384; the paper halves a 12-layer BERT-base. "
    "Depth, width and pre-training differ, so neither the levels nor the gaps are like with like.",
    "encoder": {"name": "MiniLM-L6-H384-uncased", "revision": "a1b2c3", "layers": 6, "hidden_size": 384},
    "successor_layers": 3,
}  # fmt: skip
SYNTHETIC: dict[str, Any] = {
    "name": "demo", "title": "Demo", "synthetic": True, "comparable": False,
    "comparison": "The tasks are made from a small artificial grammar.",
    "encoder": {"name": "toy-encoder", "revision": None, "layers": 4, "hidden_size": 64}, "successor_layers": 2,
}  # fmt: skip
STEPS: dict[str, dict[str, Any]] = {
    "theseus-start": {"title": "Fine-tuning from the predecessor's layers", "method": "finetune", "published": None},
    "theseus-rate": {"title": "+ replacing, constant rate", "method": "theseus", "published": None},
    "theseus-freeze": {"title": "+ predecessor frozen", "method": "theseus", "published": None},
    "theseus": {"title": "+ curriculum", "method": "theseus", "published": "BERT-of-Theseus"},
    "kd-start": {"title": "KD, same start", "method": "kd", "published": None},
}
DEPTHS: dict[str, dict[str, Any]] = {
    f"{name}-{depth}": ARMS[name] | {"title": f"{ARMS[name]['title']}, {depth} layers", "layers": depth}
    for depth in (6, 4, 3)
    for name in ("finetune", "theseus")
}
SEARCH: dict[str, dict[str, Any]] = {
    "finetune": {"trials": [{"training.learning_rate": rate} for rate in (1e-5, 2e-5)]},
    "kd": {"trials": [{"training.learning_rate": rate, "options.alpha": alpha} for rate in (1e-5, 2e-5)
                      for alpha in (0.2, 0.5)]},
    "theseus": {"trials": [{"training.learning_rate": rate, "options.rate.base": base} for rate in (1e-5, 2e-5)
                           for base in (0.1, 0.3, 0.5)]},
}  # fmt: skip
SWEEP: dict[str, dict[str, Any]] = {
    f"theseus-{rate}-{at}": {"title": f"Theseus, p = {at}, learning rate {rate}", "method": "theseus",
                             "published": None, "group": f"learning rate {rate}", "x": at}
    for rate in ("2e-5", "5e-5")
    for at in (0.1, 0.3, 0.5, 0.7, 0.9)
}  # fmt: skip
MODULES: dict[str, dict[str, Any]] = {
    f"theseus-module-{n}": {"title": f"Module {n} replaced", "method": "theseus", "layers": 11,
                            "published": f"module {n} replaced"}
    for n in range(1, 7)
}  # fmt: skip
SCHEDULES: dict[str, dict[str, Any]] = {
    f"theseus-{name.lower()}": {"title": name, "method": "theseus", "published": name}
    for name in ("Constant", "Anti-curriculum", "Curriculum")
}
TRANSFER: dict[str, dict[str, Any]] = {
    "theseus-mnli": {"title": "BERT-of-Theseus from MNLI", "method": "finetune", "published": "BERT-of-Theseus (MNLI)"},
    "finetune": {},
}
ASKED = [
    {"question": "Is Theseus above vanilla KD?", "first": "theseus", "second": "kd"},
    {"question": "Is it the start?", "first": "theseus-start", "second": "finetune"},
    {"question": "Is Theseus above KD from the same start?", "first": "theseus", "second": "kd-start"},
]
KINDS: dict[str, dict[str, Any]] = {
    "full": {},
    "predictions": {"tasks": ("cola", "mrpc", "rte", "stsb"), "predictions": True},
    "glue": {"tasks": tuple(TASKS), "seeds": (1, 2, 3, 4, 5), "suite": {"statistic": "median"}},
    "minilm": {"suite": MINILM},
    "variants": {"tasks": ("rte", "mrpc"), "seeds": (1, 2), "speed_variants": True},
    "synthetic": {"suite": SYNTHETIC, "tasks": ("cola", "rte", "sst2")},
    "partial": {
        "outcomes": {("cola", "kd", 2): "diverged", ("rte", "pkd", 1): "failed", ("rte", "theseus", 3): "missing",
                     ("sst2", "finetune", 1): "missing", ("sst2", "finetune", 2): "missing",
                     ("sst2", "finetune", 3): "missing"},
        "speed_decided": False, "manifest": {"code_dirty": True},
    },
    "single": {"tasks": ("rte",), "seeds": (1,), "speed": False},
    "steps": {
        "tasks": ("mrpc", "rte"), "arms": ("predecessor", *STEPS), "arm_changes": STEPS,
        "suite": {"title": "One change at a time", "steps": [name for name in STEPS if name != "kd-start"], "table": 2},
    },
    "contrasts": {
        "tasks": ("cola", "mrpc", "rte"), "arms": ("predecessor", "finetune", "kd", *STEPS), "arm_changes": STEPS,
        "seeds": (1, 2, 3, 4, 5, 6),
        "suite": {"title": "From fine-tuning to Theseus", "steps": ["finetune", *STEPS][:-1], "table": 2,
                  "contrasts": ASKED,
                  "registered": [{"seeds": [1, 2, 3, 4, 5, 6], "after_runs": 0, "contrasts": ASKED}]},
    },
    "depths": {
        "arms": ("predecessor", *DEPTHS), "arm_changes": DEPTHS,
        "suite": {"title": "GLUE with BERT-base, 12 to 6, 4 and 3 layers", "table": 7},
    },
    "search": {
        "tasks": ("cola", "rte"), "arms": ("predecessor", *SEARCH), "arm_changes": SEARCH,
        "outcomes": {("cola", "kd", 2, 1): "diverged", ("rte", "theseus", 1, 4): "missing"},
        "suite": {"title": "The paper's search", "protocol": "held_out", "held_out": 0.1, "unequal_budget": True,
                  "table": 2},
    },
    "sweep": {
        "tasks": ("mrpc", "rte"), "arms": ("predecessor", *SWEEP, "theseus"), "arm_changes": SWEEP,
        "suite": {"title": "Replacing rates", "x_title": "replacing rate"},
    },
    "modules": {
        "tasks": ("qnli", "mnli", "qqp"), "arms": ("predecessor", *MODULES), "arm_changes": MODULES, "speed": False,
        "suite": {"title": "One module at a time", "table": 5},
    },
    "schedules": {
        "tasks": tuple(TASKS), "arms": ("predecessor", *SCHEDULES), "arm_changes": SCHEDULES,
        "suite": {"title": "Schedules", "table": 6},
    },
    "transfer": {
        "tasks": tuple(name for name in TASKS if name != "cola"), "arms": ("predecessor", *TRANSFER),
        "arm_changes": TRANSFER, "suite": {"title": "Compressed on MNLI", "table": 4},
    },
}  # fmt: skip

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="write a made-up results folder")
    parser.add_argument("out", type=Path)
    parser.add_argument("--kind", choices=sorted(KINDS), default="full")
    chosen = parser.parse_args()
    make_results(chosen.out, **KINDS[chosen.kind])
