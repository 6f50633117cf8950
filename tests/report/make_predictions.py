"""predictions.parquet for the made-up runs of make_results: answers whose score is about the one asked for.

Examples have a difficulty that runs share, so that runs agree more than chance, as real ones do. The metrics are
written out here with plain numpy and scipy, apart from the code under test, and the result is stated by what the
answers really score.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats


def stream(*parts: object) -> np.random.Generator:
    """A generator that depends on nothing but its arguments."""
    return np.random.default_rng(int(hashlib.sha256(repr(parts).encode()).hexdigest()[:16], 16))


def answers(task: str, spec: dict[str, Any], key: object, value: float) -> tuple[pd.DataFrame, dict[str, float]]:
    """Rows of all dev splits without `checkpoint`, and the raw metrics that they have."""
    frames, found = [], {}
    several = len(spec["dev"]) > 1
    for split, size in spec["dev"].items():
        frame = one_split(task, split, size, spec["metrics"], key, value)
        suffix = split.removeprefix("validation") if several else ""
        names = [name.removesuffix(suffix) for name in spec["metrics"] if name.endswith(suffix)]
        found |= {name + suffix: metric(name, frame["label"], frame["prediction"]) for name in names}
        frames.append(frame)
    return pd.concat(frames, ignore_index=True), found


def one_split(task: str, split: str, size: int, metrics: list[str], key: object, value: float) -> pd.DataFrame:
    shared, own = stream(task, split), stream(key, split)
    idx, target = np.arange(size), value / 100
    if "pearson" in metrics:
        label = shared.uniform(0, 5, size)
        spread = 5 / np.sqrt(12) * np.sqrt(1 / target**2 - 1)
        given = label + spread * (0.6 * shared.normal(size=size) + 0.8 * own.normal(size=size))
        logits = [[np.float32(x)] for x in given]
        given = np.array([row[0] for row in logits], dtype=np.float64)
        return pd.DataFrame({"split": split, "idx": idx, "label": label, "prediction": given, "logits": logits})
    classes = 3 if "accuracy_matched" in metrics else 2
    label = shared.integers(0, classes, size)
    ease = 0.8 * shared.normal(size=size) + 0.6 * own.normal(size=size)
    share = (1 + target) / 2 if "matthews_correlation" in metrics else target
    right = ease > np.quantile(ease, 1 - share)
    given = np.where(right, label, (label + 1) % classes)
    scores = np.full((size, classes), -1.0) + 0.1 * own.normal(size=(size, classes))
    scores[np.arange(size), given] = 0.5 + np.abs(ease)
    return pd.DataFrame(
        {"split": split, "idx": idx, "label": label, "prediction": given, "logits": list(scores.astype(np.float32))}
    )


def metric(name: str, label: pd.Series, given: pd.Series) -> float:
    """One raw metric, from its definition."""
    true, said = label.to_numpy(), given.to_numpy()
    if name == "pearson":
        return float(stats.pearsonr(said, true).statistic)
    if name == "spearman":
        return float(stats.spearmanr(said, true).statistic)
    if name == "accuracy":
        return float(np.mean(true == said))
    both, only_said, only_true = (int(x.sum()) for x in (true & said, ~true & said & 1, true & ~said & 1))
    neither = len(true) - both - only_said - only_true
    if name == "f1":
        return 2 * both / (2 * both + only_said + only_true)
    below = (both + only_said) * (both + only_true) * (neither + only_said) * (neither + only_true)
    return float((both * neither - only_said * only_true) / np.sqrt(float(below)))


def write_predictions(folder: Path, frames: dict[str, pd.DataFrame]) -> None:
    """The file, checkpoints in the order given."""
    parts = [frame.assign(checkpoint=name) for name, frame in frames.items()]
    columns = ["checkpoint", "split", "idx", "label", "prediction", "logits"]
    pd.concat(parts, ignore_index=True)[columns].to_parquet(folder / "predictions.parquet", index=False)
