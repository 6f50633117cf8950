"""gpu.md: what benchmarks/gpu.py found, for people. Every number is in gpu.json; a row that has none says why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.gpu_cases import METHODS

Document = dict[str, Any]


def render(document: Document) -> str:
    """The whole page."""
    parts = [_head(document), _rates(document), _projection(document), _training(document), _memory(document),
             _passes(document), _inference(document), _determinism(document), _skipped(document)]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def _text(cell: str) -> str:
    return cell.replace("|", "\\|")


def _gib(value: float | None) -> str:
    return "" if value is None else f"{value / 2**30:.2f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _head(document: Document) -> str:
    device, shape = document["device"], document["shape"]
    memory = f", {_gib(device['memory_bytes'])} GiB" if device.get("memory_bytes") else ""
    dry = "\n\n**A dry run: a tiny shape on a CPU. None of these numbers means anything.**" if document["dry"] else ""
    sources = ", ".join(f"{name} ({entry['split']})" for name, entry in document["lengths"].items())
    versions = ", ".join(f"{name} {device.get(name)}" for name in ("torch", "transformers", "CUDA"))
    return f"""# Training and inference on one device

{device.get("name", "unknown device")}{memory}; {versions}. BERT of {shape["layers"]} layers x {shape["hidden"]}, \
successor {shape["successor"]} layers, random weights, batch {document["settings"]["batch_size"]}, examples of GLUE's \
lengths: {sources}. TF32 off, deterministic algorithms on unless a row says otherwise, cuDNN attention off, fused \
AdamW, one thread per run; runs are processes that share the device without MPS. \
{document["seconds"]:.0f} s in all.{dry}"""


def _rates(document: Document) -> str:
    rows = [[row["precision"], " x ".join(map(str, row["size"])), f"{row['rate'] / 1e12:.4g}"]
            for row in document["matmul"]]  # fmt: skip
    note = "Shares below are of the higher bfloat16 rate."
    return f"## Matrix products\n\n{table(['precision', 'size', 'TFLOP/s'], rows)}\n\n{note}" if rows else ""


def _projection(document: Document) -> str:
    found = document["projection"]
    if not found["all"]:
        return f"## Table 2, projected\n\nNot possible: {found['reason']}"
    head = ["precision", "runs at once", "compiled", "device-hours", "with one predecessor per task"]
    rows = [[entry["precision"], str(entry["runs"]), "yes" if entry["compiled"] else "no",
             f"{entry['device_hours']:.3g}", f"{entry['device_hours_with_one_predecessor_per_task']:.3g}"]
            for entry in found["all"]]  # fmt: skip
    parts = [f"## Table 2, projected\n\nFive rows x eight tasks x {found['seeds']} seeds of the `paper` suite (its own "
             f"precision is {found['suite_precision']}; its predecessor is trained once per task, the first total has "
             f"one per seed). {found['counted']}\n\n{table(head, rows)}"]  # fmt: skip
    for precision, best in found["best"].items():
        tasks = list(next(iter(best["rows"].values()))["tasks"])
        lines = []
        for row, entry in best["rows"].items():
            hours = [*(entry["tasks"][task] for task in tasks),
                     *(entry[name] for name in ("training_hours", "evaluation_hours", "hours"))]  # fmt: skip
            lines.append([row, *(f"{value:.3g}" for value in hours)])
        title = f"Device-hours in {precision}, {best['runs']} runs at once{', compiled' * best['compiled']}"
        parts.append(f"{title}:\n\n{table(['row', *tasks, 'training', 'evaluation', 'all'], lines)}\n\n"
                     f"Predecessor outputs: {best['outputs_hours']:.3g} h. {'; '.join(best['notes'])}")  # fmt: skip
    return "\n\n".join(parts)


def _cases(document: Document, passes: bool) -> list[dict[str, Any]]:
    return [case for case in document["cases"] if (case["kind"] == "pass") == passes]


def _how(case: Document) -> list[str]:
    flags = ["compiled"] * case["compiled"] + ["not deterministic"] * (not case["deterministic"])
    return [case["name"], case["precision"], str(case["runs"]), str(case["groups"]), ", ".join(flags)]


def _training(document: Document) -> str:
    head = ["method", "precision", "runs", "length groups", "", "steps/s", "ms a step of one run", "useful TFLOP/s",
            "% of the bf16 rate", "% of its own"]  # fmt: skip
    rows = []
    for case in _cases(document, passes=False):
        if case["status"] == "done":
            rows.append([*_how(case), f"{case['steps_per_second']:.4g}", f"{1e3 * case['mix']['seconds']:.4g}",
                         f"{case['operations_per_second'] / 1e12:.4g}", _percent(case["share_of_bf16"]),
                         _percent(case["share_of_own"])])  # fmt: skip
        elif case["status"] == "failed":
            rows.append([*_how(case), _text(case["reason"]), "", "", "", ""])
    note = ("Steps of all runs together, on the mix of tasks in proportion to the suite's steps. Operations are those "
            "of the layers on tokens, none on padding; what a Theseus step need not compute is not counted."
            )  # fmt: skip
    return f"## Training\n\n{note}\n\n{table(head, rows)}" if rows else ""


def _memory(document: Document) -> str:
    plain = [case for case in _cases(document, passes=False)
             if case["status"] == "done" and case["runs"] == 1 and case.get("allocated_bytes")]  # fmt: skip
    if not plain:
        return ""
    whole = {case["precision"]: case["allocated_bytes"] for case in plain
             if case["name"] == METHODS[0] and not case["compiled"]}  # fmt: skip
    rows = [[*_how(case), _gib(case["allocated_bytes"]), _gib(case["reserved_bytes"]), _gib(case["device_bytes"]),
             f"{case['allocated_bytes'] / whole[case['precision']]:.2f}" if case["precision"] in whole else ""]
            for case in plain]  # fmt: skip
    head = ["method", "precision", "runs", "length groups", "", "allocated GiB", "reserved GiB", "all contexts GiB",
            "over the predecessor's"]  # fmt: skip
    return f"## Peak memory of one run\n\n{table(head, rows)}"


def _passes(document: Document) -> str:
    rows = []
    for case in _cases(document, passes=True):
        done = case["status"] == "done"
        rate = f"{case['examples_per_second']:.4g}" if done else _text(case.get("reason") or "")
        rows.append([case["name"], case["precision"], str(case["runs"]), rate])
    head = ["pass", "precision", "runs", "examples/s"]
    return f"## Passes without gradients (batches of 64)\n\n{table(head, rows)}" if rows else ""


def _inference(document: Document) -> str:
    rows = []
    for cell in document["inference"]:
        where = [cell["variant"], str(cell["batch_size"]), str(cell["length"])]
        if cell["status"] == "done":
            times = [cell[f"{name}_seconds"]["p50"] for name in ("predecessor", "successor")]
            rows.append([*where, *(f"{1e3 * seconds:.4g}" for seconds in times),
                         f"{cell['ratio']:.3f} ({cell['ratio_low']:.3f} to {cell['ratio_high']:.3f})",
                         "" if cell["decided"] else "undecided", f"{cell['max_abs_difference']:.2g}"])  # fmt: skip
        elif cell["status"] == "failed":
            rows.append([*where, _text(cell["reason"]), "", "", "", ""])
    head = ["variant", "batch", "length", "predecessor ms", "successor ms", "median ratio (95 %)",
            "", "logits off eager float32 by"]  # fmt: skip
    note = "Paired rounds in random order; undecided: the interval is wider than 2 %."
    return f"## Inference, predecessor over successor\n\n{note}\n\n{table(head, rows)}" if rows else ""


def _determinism(document: Document) -> str:
    rows = []
    for check in document["determinism"]:
        if check["status"] == "done":
            words = ["yes" if check[name] else "no" for name in ("repeated", "beside")]
            rows.append([check["name"], check["precision"], *words])
        elif check["status"] == "failed":
            rows.append([check["name"], check["precision"], _text(check["reason"]), ""])
    head = ["method", "precision", "same bits again", "same bits beside another run"]
    return f"## Determinism ({document['repeats']} steps)\n\n{table(head, rows)}" if rows else ""


def _skipped(document: Document) -> str:
    left = [f"- {entry['title']}: {entry['reason']}" for entry in document["skipped"]]
    return "## Left out\n\n" + ("\n".join(left) if left else "Nothing.")
