"""Which arm of a suite represents a row of the paper, and how far the two may be compared.

    matched(suite, "BERT-of-Theseus", 6)      # the arm, or None
    scope(suite, claim, tasks=4)              # "" like with like, "a synthetic language, not GLUE", …

Comparing like with like needs the same depth. In other suites a claim about 6 of 12 layers is a claim about half the
depth: it is represented by an arm with half the layers, or else by the deepest successor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.timing.matrix import PAPER_LAYERS
from results.format.published_numbers import TASKS, row_name
from results.format.records import Arm, Suite

# Table 6's curriculum is the method of table 2: the 81.2 there is 79.5 + 1.7 here.
STANDS_FOR = {"Curriculum": ("BERT-of-Theseus",)}


def matched(suite: Suite, name: str, layers: int | None) -> Arm | None:
    """The first arm that is published as `name` at the depth that represents `layers` of 12."""
    for wanted in (name, *STANDS_FOR.get(name, ())):
        arms = [arm for arm in suite.arms if row_name(arm.published) == row_name(wanted)]
        depth = depth_for(suite, layers)
        found = next((arm for arm in arms if arm.layers == depth or arm.layers is None), None)
        if found is not None and (found.layers is not None or not suite.comparable):
            return found
    return None


def depth_for(suite: Suite, layers: int | None) -> int | None:
    """`layers` itself where like is compared with like, else the same share of the suite's encoder layers."""
    deep = suite.encoder.layers
    if suite.comparable or layers is None or not isinstance(deep, int):
        return layers
    if layers == PAPER_LAYERS:
        return deep
    share = deep * layers / PAPER_LAYERS
    if share in suite.depths:
        return int(share)
    return suite.depths[0] if layers == PAPER_LAYERS // 2 and suite.depths else None


def scope(suite: Suite, claim: Mapping[str, Any], tasks: int) -> str:
    """The reason why a claim is not compared like with like here; empty where it is."""
    if suite.synthetic:
        return "a synthetic language, not GLUE"
    if not suite.comparable:
        return "another encoder, depth or protocol"
    if claim["tasks"] == ["Macro"]:
        count = len({task.published for task in suite.tasks if task.in_macro} & set(TASKS))
        return f"macro over {count} of the 8 tasks" if count < len(TASKS) else ""
    return f"on {tasks} of its {len(claim['tasks'])} tasks" if tasks < len(claim["tasks"]) else ""
