"""Write what a search has chosen into the suite that trains it again, task by task and arm by arm.

    choose(read(Path("results/runs/minilm-search")), "my.toml")

The winners are chosen as the report chooses them (`results/format/trials.py`), by the search's own protocol. They
become one block of `[task.NAME.settings.ARM]` tables at the end of the suite's file; a second call replaces the block.
The suite must use other seeds: a winner's score on the seed that chose it is too high.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from benchmarks.base.errors import SuiteError
from benchmarks.suites.file import suite_path
from benchmarks.suites.suite import load_suite
from results.format.records import Results
from results.format.trials import chosen_trial

BEGIN, END = "# Chosen settings: begin.", "# Chosen settings: end."


def choose(search: Results, name: str) -> tuple[Path, list[str]]:
    """Write the winners into the file of suite `name`. Returns the file and the tasks whose search is not finished.

    Raises `SuiteError` if no task is finished, if the suite shares a seed with the search, or if the result would not
    load; the file then stays as it is.
    """
    target = load_suite(name)
    if shared := sorted({run.seed for run in search.runs} & set(target.seeds)):
        raise SuiteError(
            f"{name}: seed {shared[0]} was used by the search {search.suite.name}: give the suite fresh seeds"
        )
    finished = [task.name for task in search.suite.tasks if _finished(search, task.name)]
    if not finished:
        raise SuiteError(f"{search.root}: no task's search is finished: run {search.suite.name} first")
    path = suite_path(name)
    before, _, old = path.read_text(encoding="utf-8").partition(BEGIN)
    text = f"{before.rstrip()}\n\n{_block(search, finished)}{old.partition(END)[2]}"
    trial = path.with_name(f".{path.name}.toml")  # `load_suite` wants the ending
    try:
        trial.write_text(text.rstrip() + "\n", encoding="utf-8")
        load_suite(str(trial))
        os.replace(trial, path)
    finally:
        trial.unlink(missing_ok=True)
    return path, [task.name for task in search.suite.tasks if task.name not in finished]


def _finished(search: Results, task: str) -> bool:
    """Whether every planned run of the task has an outcome, good or bad."""
    runs = [run for run in search.runs if run.task == task]
    return bool(runs) and all(run.status in ("done", "failed", "diverged") for run in runs)


def _block(search: Results, tasks: list[str]) -> str:
    suite = search.suite
    seeds = ", ".join(str(seed) for seed in sorted({run.seed for run in search.runs}))
    lines = [
        f"{BEGIN} `python -m benchmarks choose` wrote it from the results of {suite.name},",
        f"# digest {search.digest}: the best trial on {suite.protocol} over seed {seeds}.",
    ]
    for task in tasks:
        for arm in suite.arms:
            if len(arm.trials) > 1:
                lines += ["", f"[task.{task}.settings.{arm.name}]"]
                winner = arm.trials[chosen_trial(search, task, arm.name, suite.protocol)]
                # JSON's texts, numbers, booleans and lists are TOML's too; a grid's values are nothing else.
                lines += [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in winner.items()]
    return "\n".join([*lines, END])
