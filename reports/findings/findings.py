"""Everything that a report says about a results folder, computed once and frozen.

    from results.format.reader import read
    found = findings(read(Path("results/runs/minilm")))
    found.table, found.differences, found.verdicts, found.ablation, found.timing, found.loyalties, found.environment

The page, CSV and LaTeX only render it: each cell, difference and verdict has one value, which every place shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reports.claims.ablation import Ablation, ablation
from reports.claims.contrasts import Contrasted, contrasts, family
from reports.claims.decisions import Decision, Key, all_decisions
from reports.claims.paper_numbers import Column
from reports.claims.reruns import Rerun, reruns
from reports.claims.verdict import Absent, Verdict
from reports.claims.verdicts import judged, verdicts
from reports.findings.across_tasks import Group, across_tasks
from reports.findings.environment import Environment, environment
from reports.findings.main_table import MainTable, main_table
from reports.statistics.cells import Cells
from reports.statistics.differences import Difference, Differences, comparisons, depth_leaders
from reports.statistics.failures import ConstantCell, Failures, constant_cells, failure_rates
from reports.statistics.intervals import Estimator
from reports.statistics.loyalty import Flips, Loyalty, all_flips, listed_pairs, loyalties
from reports.statistics.search_curves import SearchCurve, search_curves
from reports.timing.headline_setting import timing_for_figure
from reports.timing.matrix import Matrix, matrix
from results.format.documents.speed import Condition
from results.format.predictions import Answers
from results.format.records import Arm, Results
from results.format.trials import Choice, choices


@dataclass(frozen=True)
class Findings:
    """The findings on one results folder.

    The answer is about the column `main`. `decisions` has one for every difference on the page: verdicts, headline,
    tables and figures use the same one. `leaders`: the Theseus arm of each depth; `reference` is the first of them.
    `timed`: the conditions of the one timing setting that is shown beside scores; `timing`: all of them. `answers`: the
    stored predictions by task. `flips` covers every pair of arms, or every pair with one of `flips_of` if not empty.
    `contrasts`: the questions that the suite registered. `across`: each leader and its rivals over tasks; `search`: the
    expected best score by number of trials.
    """

    results: Results
    cells: Cells
    table: MainTable
    main: Column
    leaders: Mapping[int | None, str]
    reference: Arm | None
    differences: tuple[Difference, ...]
    decisions: Mapping[Key, Decision]
    contrasts: tuple[Contrasted, ...]
    across: tuple[Group, ...]
    verdicts: tuple[Verdict, ...]
    absent: tuple[Absent, ...]
    ablation: Ablation
    reruns: tuple[Rerun, ...]
    choices: tuple[Choice, ...]
    search: tuple[SearchCurve, ...]
    constant: tuple[ConstantCell, ...]
    failures: tuple[Failures, ...]
    timing: Matrix
    timed: tuple[Condition, ...]
    answers: Mapping[str, Answers]
    loyalties: tuple[Loyalty, ...]
    flips: tuple[Flips, ...]
    flips_of: tuple[str, ...]
    environment: Environment


def findings(results: Results) -> Findings:
    """Compute everything; raises `ReportError` where predictions or timings do not follow the format."""
    suite, cells = results.suite, Cells.of(results)
    compared = Differences(Estimator(cells))
    answers, timed = compared.estimator.answers, timing_for_figure(results)
    table, leaders = main_table(cells, timed), depth_leaders(suite)
    asked = family(compared, table.columns)
    known = asked if suite.asked_beforehand else {}
    found, absent = verdicts(compared, known)
    shown, changed = comparisons(compared), ablation(compared, table.columns, table.paper == "beside")
    flips_of = listed_pairs(suite, answers)
    return Findings(
        results=results,
        cells=cells,
        table=table,
        main=next((column for column in table.columns if column.name == cells.main_task), table.columns[-1]),
        leaders=leaders,
        reference=suite.arm(next(iter(leaders.values()))) if leaders else None,
        differences=tuple(shown),
        decisions=asked
        | all_decisions(compared, known | judged(found), shown, changed.along_steps, changed.from_predecessor),
        contrasts=contrasts(suite, table.columns, asked),
        across=tuple(across_tasks(compared, shown)),
        verdicts=tuple(found),
        absent=tuple(absent),
        ablation=changed,
        reruns=reruns(cells),
        choices=tuple(choices(results)),
        search=tuple(search_curves(results, cells.macro_tasks)),
        constant=tuple(constant_cells(cells)),
        failures=tuple(failure_rates(compared.estimator)),
        timing=matrix(results),
        timed=timed,
        answers=answers,
        loyalties=tuple(loyalties(suite, answers)),
        flips=tuple(all_flips(suite, answers, flips_of)),
        flips_of=flips_of,
        environment=environment(results),
    )
