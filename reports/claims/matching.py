"""Which arm of a suite represents a row of the paper, and how far the two may be compared.

    matched(suite, "BERT-of-Theseus", 6)      # the arm, or None
    scope(results, claim, pair, tasks=4)      # () like with like, ("a synthetic language, not GLUE", …)

Comparing like with like needs the same depth. In other suites a claim about 6 of 12 layers is a claim about half the
depth: it is represented by an arm with half the layers, or else by the deepest successor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reports.timing.matrix import PAPER_LAYERS
from results.format.published_numbers import TASKS, row_name
from results.format.records import Arm, Results, Suite

ENCODER = "bert-base-uncased"
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


def scope(results: Results, claim: Mapping[str, Any], pair: tuple[Arm, Arm], tasks: int) -> tuple[str, ...]:
    """Every reason why a claim is not compared like with like on all its tasks here; empty where it is.

    `tasks`: how many of the claim's tasks the suite has. Only the macro tasks that are the paper's count.
    """
    suite = results.suite
    return (*_other_setting(suite, claim), *_fewer_tasks(suite, claim, tasks), *_unequal(suite, claim, pair),
            *_extended(suite, claim))  # fmt: skip


def _other_setting(suite: Suite, claim: Mapping[str, Any]) -> Iterator[str]:
    """Another language, encoder, depth or protocol than the paper's. That a suite calls itself comparable does not make
    it so: what its file shows counts as well."""
    if suite.synthetic:
        yield "a synthetic language, not GLUE"
    name, deep = (suite.encoder.name or "").rpartition("/")[2], suite.encoder.layers
    layers = min((claim[key] for key in ("layers", "baseline_layers") if claim.get(key)), default=None)
    if name not in ("", ENCODER):
        yield f"another encoder ({name})"
    if deep and layers and deep != PAPER_LAYERS:
        yield f"{deep} to {depth_for(suite, layers)} layers, not {PAPER_LAYERS} to {layers}"
    elif name in ("", ENCODER) and not suite.comparable and not suite.synthetic:
        yield "another encoder, depth or protocol"
    if suite.held_out and claim["metric"] == "score":
        yield f"{100 * suite.held_out:g} % of the training set held out"


def _fewer_tasks(suite: Suite, claim: Mapping[str, Any], tasks: int) -> Iterator[str]:
    if claim["metric"] != "score":
        return
    if claim["tasks"] == ["Macro"]:
        macro = [task for task in suite.tasks if task.in_macro]
        count = len({task.published for task in macro} & set(TASKS))
        if suite.synthetic:
            yield f"macro over {len(macro)} tasks of its own"
        elif count < len(TASKS):
            yield f"macro over {count} of the {len(TASKS)} tasks"
        elif len(macro) > count:
            yield f"macro over {len(macro)} tasks, not the paper's {len(TASKS)}"
    elif tasks < len(claim["tasks"]):
        yield f"{tasks} of its {len(claim['tasks'])} tasks"


def _unequal(suite: Suite, claim: Mapping[str, Any], pair: tuple[Arm, Arm]) -> Iterator[str]:
    """Another number of trials where dev chose among them: the best of 16 is above the best of 1 by chance alone."""
    one, other = (len(arm.trials) for arm in pair)
    predecessor = any(arm.is_predecessor for arm in pair)  # it is not searched, and no order claim is about it
    if one != other and not predecessor and suite.protocol != "held_out" and claim["metric"] == "score":
        yield f"unequal search: {one} against {other} trials, chosen on dev"


def _extended(suite: Suite, claim: Mapping[str, Any]) -> Iterator[str]:
    """Seeds that were changed after results could be seen: testing at 5 % and again after more seeds is 10 %."""
    if len({r.seeds for r in suite.registered}) > 1 and claim["metric"] == "score":
        yield f"seeds changed after a look at results ({', then '.join(str(len(r.seeds)) for r in suite.registered)})"


def conditions(results: Results, pair: tuple[Arm, Arm]) -> tuple[str, ...]:
    """What a verdict is conditional on, without being unlike the paper: one predecessor that all seeds share."""
    suite = results.suite
    shared = not suite.predecessor_per_seed and len(suite.seeds) > 1
    uses = {run.arm for run in results.runs if run.manifest.predecessor}
    involved = any(arm.is_predecessor or arm.name in uses for arm in pair)
    return ("given one shared predecessor",) if shared and involved else ()
