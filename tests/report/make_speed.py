"""The made-up speed.json of a results folder: conditions of the timed pair, and a matrix of variants."""

from collections.abc import Mapping
from typing import Any


def speed_conditions(suite: Mapping[str, Any], decided: bool) -> list[dict[str, Any]]:
    """For every depth two conditions: one decided unless asked otherwise, one that never is."""
    depths = {arm["layers"] for arm in suite["arms"] if arm["method"] != "predecessor"} or {suite["successor_layers"]}
    return [c for depth in sorted(depths, reverse=True) for c in two_conditions(suite, depth, decided)]


def two_conditions(suite: Mapping[str, Any], shallow: int, decided: bool) -> list[dict[str, Any]]:
    """An accelerator and a CPU; the successor's time goes with its depth."""
    deep, part = suite["encoder"]["layers"], shallow / suite["successor_layers"]
    base = {"precision": "float32", "attention": "sdpa", "length": 128, "predecessor_layers": deep,
            "successor_layers": shallow, "rounds": 60, "confidence": 0.95}  # fmt: skip
    gpu = base | {
        "device": "cuda", "device_name": "one 80 GB accelerator", "precision": "bfloat16", "threads": 8,
        "batch_size": 32,
        "ratio": 1.97 / part, "ratio_low": 1.95 / part, "ratio_high": 1.99 / part, "decided": decided,
        "predecessor": {"p50": 0.0121, "p90": 0.0124, "p99": 0.0131},
        "successor": {"p50": 0.00614 * part, "p90": 0.0063 * part, "p99": 0.0071 * part},
        "ratios": [1.96, 1.98], "predecessor_seconds": [0.0121], "successor_seconds": [0.00614],
    }  # fmt: skip
    cpu = base | {
        "device": "cpu", "device_name": "2-core CPU", "threads": 2, "batch_size": 1, "ratio": 1.88, "ratio_low": 1.61,
        "ratio_high": 2.21, "decided": False, "predecessor": {"p50": 0.093, "p90": 0.121, "p99": 0.19},
        "successor": {"p50": 0.049, "p90": 0.066, "p99": 0.1}, "ratios": [1.7, 2.1],
        "predecessor_seconds": [0.093], "successor_seconds": [0.049],
    }  # fmt: skip
    return [gpu, cpu]


def variants_of(suite: Mapping[str, Any], timed: Mapping[str, Any]) -> dict[str, Any]:
    """The CPU condition again in every variant at two thread counts and four lengths, with what goes along with it."""
    cpu = next(c for c in timed["conditions"] if c["device"] == "cpu")
    faster = {"eager": 1.0, "bfloat16": 1.4, "compiled": 1.2, "onnx": 1.1}
    agreement = {"max_abs_difference": 2.4e-6, "largest_logit": 2.0, "equal_argmax": 1.0, "examples": 72}
    memory = {"predecessor": {"weights_bytes": 438_000_000, "working_bytes": 51_000_000},
              "successor": {"weights_bytes": 268_000_000, "working_bytes": 49_000_000}}  # fmt: skip
    conditions = [
        variant_condition(cpu, variant, gain, threads, batch, length)
        | {"agreement": {**dict.fromkeys(("predecessor", "successor"), agreement), "tolerance": 1e-3}, "memory": memory}
        for threads in (1, 2)
        for variant, gain in faster.items()
        for batch in (1, 8)
        for length in (16, 128, "dev")
    ]
    depth = {"predecessor_layers": suite["encoder"]["layers"], "successor_layers": suite["successor_layers"]}
    refused = {"device": "cpu", "threads": 1, "variant": "onnx-int8", **depth, "batch_size": None, "length": None,
               "reason": "the successor's logits differ from eager float32 by 1.3, 61 % of the largest; "
               "up to 50 % would be timed"}  # fmt: skip
    score = {"device": "cpu", "variant": "bfloat16", "side": "predecessor", "layers": depth["predecessor_layers"],
             "task": "rte", "run_id": "0", "eager_score": 66.1, "score": 65.7, "drop": 0.4, "examples": 277,
             "reason": None}  # fmt: skip
    kept = {"side": "successor", "run_id": None, "reason": "no run kept fine-tuned weights of this model"}
    none = score | kept | dict.fromkeys(("eager_score", "score", "drop", "examples"))
    return {
        **timed, "key": "0", "matrix": True, "complete": True, "task": "rte", "weights": {"predecessor": "pretrained"},
        "conditions": [timed["conditions"][0], *conditions], "refused": [refused], "dev_scores": [score, none],
    }  # fmt: skip


def variant_condition(
    cpu: Mapping[str, Any], variant: str, gain: float, threads: int, batch: int, length: int | str
) -> dict[str, Any]:
    """One made-up condition of a variant; the larger batch is undecided over eager."""
    ratio = 1.9 + 0.05 * threads
    return {
        **cpu, "variant": variant, "precision": "bfloat16" if variant == "bfloat16" else "float32", "threads": threads,
        "batch_size": batch, "length": length, "ratio": ratio, "ratio_low": ratio - 0.01, "ratio_high": ratio + 0.01,
        "decided": True,
        "over_eager": {"ratio": ratio * gain, "ratio_low": ratio * gain - 0.2, "ratio_high": ratio * gain + 0.2,
                       "decided": batch == 1},
        "discarded": {"clock_gaps": 1, "outliers": 1},
        **({"dev_lengths": {"task": "rte", "examples": 277, "median": 58, "p90": 121, "longest": 128,
                            "padded_median": 97}} if length == "dev" else {}),
    }  # fmt: skip
