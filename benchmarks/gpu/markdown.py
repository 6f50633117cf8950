"""gpu.md: the results of `benchmarks.gpu` for people. gpu.json has every number; a row without numbers says why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Document = dict[str, Any]
Columns = Mapping[str, Callable[[Document], str]]
FLAGS: Columns = {
    "method": lambda case: case["name"], "precision": lambda case: case["precision"],
    "runs": lambda case: str(case["runs"]), "length groups": lambda case: str(case["groups"]),
    "": lambda case: ", ".join(["compiled"] * case["compiled"] + ["not deterministic"] * (not case["deterministic"])),
}  # fmt: skip
HEAD = """# Training and inference on one device

{name}{memory}; {versions}. BERT of {num_hidden_layers} layers x {hidden_size}, successor {successor_layers} layers, \
random weights, batch {batch_size}, examples of GLUE's lengths: {sources}. TF32 off, deterministic algorithms on \
unless a row says otherwise, cuDNN attention off, fused AdamW, one thread per run; runs are processes that share the \
device without MPS. {seconds:.0f} s in all."""
DRY = "**A dry run: a tiny shape on a CPU. None of these numbers means anything.**"
NOTE = """Steps of all runs together, on the mix of tasks in proportion to the suite's steps; a step of a pass is a \
batch of 64 without gradients. Operations are those of the layers on tokens, none on padding; what a Theseus step need \
not compute is not counted. Memory is one run's at its peak, and that of all processes on the device."""


def _number(key: str, scale: float = 1.0, form: str = ".4g") -> Callable[[Document], str]:
    """Format a field, times `scale`; empty if it was not measured."""
    return lambda entry: "" if entry[key] is None else format(entry[key] * scale, form)


RATES: Columns = {
    "steps/s": _number("steps_per_second"), "examples/s": _number("examples_per_second"),
    "ms a step of one run": lambda case: f"{1e3 * case['mix']['seconds']:.4g}",
    "useful TFLOP/s": _number("operations_per_second", 1e-12),
    "% of the bf16 rate": _number("share_of_bf16", 100, ".1f"), "% of its own": _number("share_of_own", 100, ".1f"),
    **{f"{title} GiB": _number(f"{key}_bytes", 2**-30, ".2f") for title, key in
       (("allocated", "allocated"), ("reserved", "reserved"), ("all processes'", "device"))},
}  # fmt: skip


def render(document: Document) -> str:
    """The whole page."""
    left = [f"- {entry['title']}: {entry['reason']}" for entry in document["skipped"]]
    training = _section("Training, and passes without gradients", FLAGS, RATES, document["cases"], NOTE)
    parts = [
        _head(document), DRY if document["dry"] else "", _matmul(document), _projection(document["projection"]),
        training, _inference(document["inference"]), _determinism(document),
        "## Left out", "\n".join(left) or "Nothing.",
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a row may lack its last cells."""
    names = list(head)
    filled = [[*row, *[""] * (len(names) - len(row))] for row in (names, ["---"] * len(names), *rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in filled)


def _section(title: str, what: Columns, found: Columns, entries: Iterable[Document], note: str = "") -> str:
    """A titled table: the columns of `what` name the case, those of `found` its results, or else the reason."""
    rows = [[show(entry) for show in what.values()]
            + ([entry["reason"].replace("|", "\\|")] if entry["status"] == "failed"
               else [show(entry) for show in found.values()])
            for entry in entries if entry["status"] != "skipped"]  # fmt: skip
    return "\n\n".join(filter(None, (f"## {title}", note, _table([*what, *found], rows)))) if rows else ""


def _head(document: Document) -> str:
    device = document["device"]
    memory = f", {device['memory_bytes'] / 2**30:.2f} GiB" if device["memory_bytes"] else ""
    versions = ", ".join(f"{name} {device[name]}" for name in ("torch", "transformers", "CUDA"))
    sources = ", ".join(f"{name} ({entry['split']})" for name, entry in document["lengths"].items())
    return HEAD.format(memory=memory, versions=versions, sources=sources, name=device["name"], **document["shape"],
                       batch_size=document["settings"]["batch_size"], seconds=document["seconds"])  # fmt: skip


def _matmul(document: Document) -> str:
    rows = [
        [row["precision"], " x ".join(map(str, row["size"])), f"{row['rate'] / 1e12:.4g}"] for row in document["matmul"]
    ]
    note = "Shares below are of the higher bfloat16 rate."
    return f"## Matrix products\n\n{note}\n\n{_table(['precision', 'size', 'TFLOP/s'], rows)}" if rows else ""


def _projection(found: Document) -> str:
    if not found["all"]:
        return f"## Table 2, projected\n\nNot possible: {found['reason']}"
    head = ["precision", "runs at once", "compiled", "device-hours", "with one predecessor per task"]
    rows = [[entry["precision"], str(entry["runs"]), "yes" if entry["compiled"] else "no",
             f"{entry['device_hours']:.3g}", f"{entry['device_hours_with_one_predecessor_per_task']:.3g}"]
            for entry in found["all"]]  # fmt: skip
    note = (f"Five rows x eight tasks x {found['seeds']} seeds of the `paper` suite (its own precision is "
            f"{found['suite_precision']}; its predecessor is trained once per task, the first total has one per seed). "
            f"{found['counted']}")  # fmt: skip
    return "\n\n".join([f"## Table 2, projected\n\n{note}", _table(head, rows), *map(_by_task, found["best"].values())])


def _by_task(best: Document) -> str:
    rows = [[row, *(f"{value:.3g}" for value in (*entry["tasks"].values(), entry["training_hours"],
                                                 entry["evaluation_hours"], entry["hours"]))]
            for row, entry in best["rows"].items()]  # fmt: skip
    table = _table(["row", *best["rows"]["predecessor"]["tasks"], "training", "evaluation", "all"], rows)
    title = f"Device-hours in {best['precision']}, {best['runs']} runs at once{', compiled' * best['compiled']}"
    notes = "; ".join([f"Predecessor outputs: {best['outputs_hours']:.3g} h", *best["notes"]])
    return f"{title}:\n\n{table}\n\n{notes}."


def _inference(cells: Sequence[Document]) -> str:
    what = {"variant": lambda cell: cell["variant"], "batch": _number("batch_size"), "length": _number("length")}
    found: Columns = {
        "predecessor ms": lambda cell: f"{1e3 * cell['predecessor_seconds']['p50']:.4g}",
        "successor ms": lambda cell: f"{1e3 * cell['successor_seconds']['p50']:.4g}",
        "median ratio (95 %)": lambda cell: "{ratio:.3f} ({ratio_low:.3f} to {ratio_high:.3f})".format(**cell),
        "": lambda cell: "" if cell["decided"] else "undecided",
        "logits off eager float32 by": _number("max_abs_difference", form=".2g"),
    }
    note = "Paired rounds in random order; undecided: the interval is wider than 2 %."
    return _section("Inference, predecessor over successor", what, found, cells, note)


def _determinism(document: Document) -> str:
    what = {name: FLAGS[name] for name in ("method", "precision")}
    found: Columns = {
        "same bits again": lambda check: "yes" if check["repeated"] else "no",
        "same bits beside another run": lambda check: "yes" if check["beside"] else "no",
    }
    return _section(f"Determinism ({document['repeats']} steps)", what, found, document["determinism"])
