"""A reproducibility summary on one page, with the checklist that ACL venues ask for, as Markdown.

    summary(found)      # the text of reproducibility.md

Every sentence comes from the suite, the manifests and the results, so that what a submission form asks is answered by
the files and not from memory. The headings are those of the ML Reproducibility Challenge's form; what was easy and what
was difficult is what the runs show of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template

from reports.findings.findings import Findings
from reports.page import sections
from reports.page.headline import headline
from reports.words import counted, duration, listed, protocol_name
from results.format.records import Arm, Results, Run

TEMPLATE = Path(__file__).resolve().parents[1] / "templates" / "reproducibility.md.j2"
SPECIAL = re.compile(r"([\\`*_\[\]<>|#])")  # what Markdown would read as markup


def summary(found: Findings) -> str:
    """The page; the same results give the same text."""
    template = Template(
        TEMPLATE.read_text(encoding="utf-8"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=lambda value: SPECIAL.sub(r"\\\1", str(value)),
    )
    page = template.render(_context(found))
    return page.rstrip() + "\n"


def _context(found: Findings) -> dict[str, Any]:
    results, suite = found.results, found.results.suite
    done = [run for run in results.runs if run.status == "done"]
    spent = sum(run.train_seconds or 0.0 for run in results.runs)
    compared, *answers = headline(found)
    return {
        "suite": suite,
        "compared": compared,
        "answers": answers,
        "checkpoint": protocol_name(suite.protocol),
        "registered": sections.registration(suite),
        "done": f"{len(done)} of {counted(len(results.runs), 'planned run')}",
        "smooth": _smooth(results, done),
        "rough": _rough(found),
        "spent": duration(spent) if spent else "not recorded",
        "costs": sections.costs(found),
        "fields": {
            field.label: listed([value for value, _ in field.values] or ["not recorded"])
            for field in found.environment.fields
        },
        "searched": [(arm.title, _bounds(arm), len(arm.trials)) for arm in suite.arms if len(arm.trials) > 1],
        "evaluations": sum(run.evaluations or 0 for run in done),
        "tasks": [
            (task, listed([_dev(split, size) for split, size in task.dev_examples.items()] or ["unknown"]))
            for task in suite.tasks
        ],
    }


def _smooth(results: Results, done: list[Run]) -> list[str]:
    """What went without a hitch, as far as the files show it."""
    said = [f"{counted(len(done), 'run')} of {len(results.runs)} ended with a score."]
    probes = Counter(run.manifest.determinism_probe.bit_equal for run in done if run.manifest.determinism_probe)
    if probes and set(probes) == {True}:
        said.append("On every machine a few steps of each arm were taken twice and gave the same bits.")
    commits = {run.manifest.code_commit for run in done}
    if len(commits) == 1 and not any(run.manifest.code_dirty for run in done):
        said.append("All runs come from one commit without changes.")
    return said


def _rough(found: Findings) -> list[str]:
    """What failed, was interrupted, is missing or stays open."""
    resumed = sum(isinstance(run.manifest.resumed_at_step, int) for run in found.results.runs)
    said = [f"{line}." for line in sections.missing(found)]
    said += [f"{counted(resumed, 'run')} went on from a checkpoint after a stop."] if resumed else []
    said += (
        [f"{counted(len(found.constant), 'cell')} had seeds with one answer for every input."] if found.constant else []
    )
    asked = [d for contrast in found.contrasts for d in contrast.decisions]
    open_ = sum(d.word == "open" for d in asked)
    said += [f"{open_} of {counted(len(asked), 'registered test')} stay undecided."] if open_ else []
    return [*said, *found.environment.warnings] or ["Nothing that the files show."]


def _bounds(arm: Arm) -> str:
    """The values that each searched setting took."""
    tried: dict[str, list[str]] = {}
    for trial in arm.trials:
        for key, value in trial.items():
            tried.setdefault(key, []).append(_number(value))
    return "; ".join(f"{key} in {', '.join(dict.fromkeys(values))}" for key, values in tried.items())


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value) if not isinstance(value, Mapping) else "settings"


def _dev(split: str, size: int | None) -> str:
    return f"{'unknown' if size is None else f'{size:,}'} ({split})"
