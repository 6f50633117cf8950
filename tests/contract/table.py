"""Writes docs/architectures.md: what the library does with every model of the zoo.

python -m tests.contract.table > docs/architectures.md         # some minutes
"""

from __future__ import annotations

import textwrap
import warnings

from transformers.utils import logging

from tests.contract.case import Case
from tests.contract.checks import CHECKS, verdicts
from tests.contract.zoo import CHOSEN, ZOO, model_of
from theseus import TheseusError

PAGE = """# Architectures

What `Theseus(model, layers=2, ...)` does with small random models of {models} combinations of architecture and head,
four layers each. `python -m tests.contract.table` writes this page, and tests hold every row. The {checks} checks are:

{names}

*all* means that every check passes; checks that do not apply to a model (a classifier does not generate) are named.

{passed} of {models} pass everything, {refused} are refused before anything is trained.

## As they are

| model | class | result | does not apply |
|---|---|---|---|
{rows}

## With an explicit choice

`stack=` names the side of a model that has several, `sizes=` the predecessor layers of each module.

| model | class | result | does not apply |
|---|---|---|---|
{chosen}

transformers 5 builds the cache of T5's decoder from the depth of its encoder. A T5 whose encoder alone was compressed
therefore needs `generate(use_cache=False)`, as any T5 whose encoder is the shallower side does.
"""


def quietly() -> None:
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def row_of(name: str) -> str:
    """The line of the table for a model of the zoo, or for an explicit choice."""
    base, given = CHOSEN.get(name, (name, {}))
    case = Case(model_of(base), given)
    shown = f"{base}, {', '.join(f'{key}={value!r}' for key, value in given.items())}" if given else name
    try:
        found = verdicts(case)
    except TheseusError as error:
        return f"| {shown} | {type(case.model).__name__} | refused: {error} | |"
    wrong = [f"{check}: {verdict}" for check, verdict in found.items() if verdict not in (None, "n")]
    left = [check for check, verdict in found.items() if verdict == "n"]
    return f"| {shown} | {type(case.model).__name__} | {'; '.join(wrong) or 'all'} | {', '.join(left)} |"


def page() -> str:
    rows, chosen = [row_of(name) for name in ZOO], [row_of(name) for name in CHOSEN]
    return PAGE.format(
        models=len(ZOO),
        checks=len(CHECKS),
        names=textwrap.fill(" · ".join(CHECKS), 118),
        passed=sum(" | all | " in row for row in rows),
        refused=sum(" | refused: " in row for row in rows),
        rows="\n".join(rows),
        chosen="\n".join(chosen),
    )


if __name__ == "__main__":
    quietly()
    print(page(), end="")
