"""The 21 checks that a model which the library serves must pass.

A check returns None if it passes, "n" where it does not apply to the model, else a sentence that says what is wrong.
"""

from __future__ import annotations

import copy
import pickle
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tests.contract.case import ALWAYS, HALF, Case, Verdict, differ, first_of, run
from tests.contract.generation import generates, generates_in_train_mode
from theseus import Theseus, TheseusError, find_blocks, parameters_by_part
from theseus.models.configs import config_of
from theseus.models.probing import tensors


def verdicts(case: Case) -> dict[str, Verdict]:
    """Of every check. Raises `TheseusError` if the model is refused."""
    found: dict[str, Verdict] = {}
    for name, check in CHECKS.items():
        try:
            found[name] = check(case)
        except TheseusError:
            raise
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


def constructs(case: Case) -> Verdict:
    theseus = case.theseus()
    return None if theseus.model.training else "not in train mode"


def p0_is_the_predecessor(case: Case) -> Verdict:
    return differ(run(case.theseus().model, case.inputs), run(case.model, case.inputs))


def eval_is_the_successor(case: Case) -> Verdict:
    theseus = case.theseus(ALWAYS)
    successor = theseus.successor()
    in_train = differ(run(theseus.model, case.inputs), run(successor, case.inputs))
    return first_of(in_train, differ(run(theseus.model.eval(), case.inputs), run(successor, case.inputs)))


def starts_from_other_layers(case: Case) -> Verdict:
    found = []
    for init in ("bottom", "top", "interleaved"):
        theseus = case.theseus(ALWAYS, init=init)
        found.append(run(theseus.model, case.inputs))
        if verdict := differ(found[-1], run(theseus.successor(), case.inputs)):
            return f"{init}: {verdict}"
    return None if differ(found[0], found[1]) else "bottom and top give the same"


def _loss(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    found = tensors(model(**inputs))
    return sum((value.float().square().mean() for value in found.values()), torch.zeros(()))


def gradients_reach_what_is_drawn(case: Case) -> Verdict:
    for gates in ([True, True], [False, True], [True, False], [False, False]):
        theseus = case.theseus()
        theseus.gates = gates
        _loss(theseus.model, case.inputs).backward()
        held = {id(parameter) for parameter in theseus.trainable_parameters()}
        wrong = [name for name, p in theseus.model.named_parameters() if p.grad is not None and id(p) not in held]
        if wrong:
            return f"{gates}: {wrong[0]} is frozen and has a gradient"
        for module, gate in zip(theseus._modules, gates, strict=True):
            reached = any(p.grad is not None for p in module.successor.parameters())
            if reached != gate:
                return f"{gates}: {'no gradient' if gate else 'a gradient of what was not drawn'}"
    return None


def trains(case: Case) -> Verdict:
    theseus = case.theseus(HALF)
    before = {name: p.detach().clone() for name, p in theseus.model.named_parameters()}
    held = {id(p) for p in theseus.trainable_parameters()}
    optimizer = torch.optim.AdamW(theseus.trainable_parameters(), lr=1e-3)
    for step in range(4):
        theseus.gates = [step % 2 == 0, step % 2 == 1] if step < 2 else theseus.gates
        _loss(theseus.model, case.inputs).backward()
        optimizer.step()
        optimizer.zero_grad()
        theseus.step()
    moved = {name for name, p in theseus.model.named_parameters() if not torch.equal(p, before[name])}
    allowed = {name for name, p in theseus.model.named_parameters() if id(p) in held}
    if not moved or moved - allowed:
        return f"moved: {sorted(moved - allowed)[:2] or 'nothing'}"
    return None if all(torch.isfinite(p).all() for p in theseus.trainable_parameters()) else "not finite"


def mixes(case: Case) -> Verdict:
    mixed = case.theseus()
    mixed.gates = [True, False]
    by_hand = run(mixed.model, case.inputs)
    mixed.gates = [False, True]
    if differ(by_hand, run(mixed.model, case.inputs)) is None:
        return "the draw changes nothing"
    blend = case.theseus(HALF, mix="blend")
    _loss(blend.model, case.inputs).backward()
    blended = differ(run(blend.model.eval(), case.inputs), run(blend.successor(), case.inputs))
    partly = case.theseus(ALWAYS, replace=[1])
    replaced = differ(run(partly.model.eval(), case.inputs), run(partly.successor(), case.inputs))
    return first_of(blended and f"blend: {blended}", replaced and f"replace=[1]: {replaced}")


def _reloads(model: Any, inputs: dict[str, torch.Tensor]) -> Verdict:
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        loaded, report = type(model).from_pretrained(folder, output_loading_info=True)
    wrong = {
        key: sorted(report[key])[:2] for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if report[key]
    }
    return f"keys {wrong}" if wrong else differ(run(model, inputs), run(loaded.eval(), inputs))


def reloads(case: Case) -> Verdict:
    """The successor, and what `theseus.model.save_pretrained` writes in its place."""
    theseus = case.theseus(ALWAYS)
    return first_of(_reloads(theseus.successor(), case.inputs), _reloads(theseus.model, case.inputs))


def reloads_others(case: Case) -> Verdict:
    for switches in ({"init": "top"}, {"init": "interleaved"}, {"replace": [1]}):
        if verdict := _reloads(case.theseus(ALWAYS, **switches).successor(), case.inputs):
            return f"{switches}: {verdict}"
    return None


def config_is_shortened(case: Case) -> Verdict:
    successor = case.theseus(ALWAYS).successor()
    stack = find_blocks(successor, case.given.get("stack"))
    config: Any = config_of(stack.owner) or successor.config
    left = {name: value for name, value in vars(config).items() if isinstance(value, list) and len(value) == case.depth}
    return f"per-layer fields left at {case.depth}: {left}" if left else None


def _configs(model: nn.Module) -> int:
    return len({id(config) for module in model.modules() if (config := config_of(module)) is not None})


def one_config(case: Case) -> Verdict:
    wanted = _configs(case.model)
    theseus = case.theseus()
    found = _configs(theseus.successor()), _configs(theseus.model)
    return None if found == (wanted, wanted) else f"{wanted} config objects in the predecessor, {found} in the copies"


def _has_attention_switch(case: Case) -> bool:
    return bool(getattr(case.model, "_supports_sdpa", False))


def attention_implementations(case: Case) -> Verdict:
    if not _has_attention_switch(case):
        return "n"
    theseus = case.theseus()
    found = {}
    for name in ("sdpa", "eager"):
        theseus.model.set_attn_implementation(name)
        found[name] = run(theseus.model, case.inputs)
    case.model.set_attn_implementation("eager")
    try:
        return first_of(
            differ(found["eager"], run(case.model, case.inputs)), differ(found["sdpa"], found["eager"], 1e-4)
        )
    finally:
        case.model.set_attn_implementation("sdpa")


def _per_layer(model: Any, case: Case, name: str) -> list[Any]:
    """The hidden states or attentions of the side that is compressed."""
    with torch.no_grad():
        output = model(**case.inputs, **{f"output_{name}": True})
    side = next((f"{side}_{name}" for side in ("encoder", "decoder") if side in case.given.get("stack", "")), name)
    return [value for value in output.get(side) or [] if value is not None]


def sets_attention_later(case: Case) -> Verdict:
    if not _has_attention_switch(case) or not _gives(case, "attentions"):
        return "n"
    theseus = case.theseus(ALWAYS)
    successor = theseus.successor()
    for name, model in (("successor", successor), ("theseus.model", theseus.model)):
        model.set_attn_implementation("eager")
        found = len(_per_layer(model, case, "attentions"))
        if found != case.layers:
            return f"{name}: {found} attentions"
    return None


def _gives(case: Case, name: str) -> int:
    """How many hidden states or attentions the predecessor gives; 0 if it gives none."""
    eager = copy.deepcopy(case.model)
    if _has_attention_switch(case):
        eager.set_attn_implementation("eager")
    try:
        return len(_per_layer(eager, case, name))
    except (TypeError, ValueError, AttributeError):
        return 0


def counts_hidden_states(case: Case) -> Verdict:
    whole = _gives(case, "hidden_states")
    if not whole:
        return "n"
    wanted = whole - case.depth + case.layers
    theseus = case.theseus()
    for name, gates in (("p0", [False] * case.layers), ("p1", [True] * case.layers)):
        theseus.gates = gates
        found = len(_per_layer(theseus.model, case, "hidden_states"))
        if found != wanted:
            return f"{name}: {found} hidden states, want {wanted}"
    theseus.gates = [False] * case.layers
    size = case.given.get("sizes", [case.depth // case.layers])[0]
    ours, theirs = (_per_layer(model, case, "hidden_states") for model in (theseus.model, case.model))
    first = int(torch.equal(ours[0], theirs[0]))  # the input of the first layer may come first
    if not torch.allclose(ours[first], theirs[first + size - 1], atol=1e-5):
        return f"hidden_states[{first}] is not that after the first module"
    found = len(_per_layer(theseus.successor(), case, "hidden_states"))
    return None if found == wanted else f"successor: {found} hidden states, want {wanted}"


def counts_attentions(case: Case) -> Verdict:
    if _gives(case, "attentions") != case.depth:
        return "n"
    theseus = case.theseus()
    if _has_attention_switch(case):
        theseus.model.set_attn_implementation("eager")
    for name, gates in (("p0", [False] * case.layers), ("p1", [True] * case.layers)):
        theseus.gates = gates
        found = len(_per_layer(theseus.model, case, "attentions"))
        if found != case.layers:
            return f"{name}: {found} attentions, want {case.layers}"
    found = len(_per_layer(theseus.successor(), case, "attentions"))
    return None if found == case.layers else f"successor: {found} attentions"


def checkpoints(case: Case) -> Verdict:
    """Gradient checkpointing, both ways, switched on before and after."""
    if not getattr(case.model, "supports_gradient_checkpointing", False):
        return "n"
    plain = _gradients(case.theseus(ALWAYS), case)
    for reentrant in (True, False):
        for before in (True, False):
            given = copy.deepcopy(case.model)
            settings = {"use_reentrant": reentrant}
            if before:
                given.gradient_checkpointing_enable(settings)
            theseus = Case(given, case.given, case.layers).theseus(ALWAYS)
            if not before:
                theseus.model.gradient_checkpointing_enable(settings)
            found = _gradients(theseus, case)
            if len(found) != len(plain) or not all(
                torch.allclose(a, b, atol=1e-5) for a, b in zip(found, plain, strict=True)
            ):
                return (
                    f"reentrant={reentrant} {'before' if before else 'after'}: {len(found)} of {len(plain)} gradients"
                )
    return None


def _gradients(theseus: Theseus, case: Case) -> list[torch.Tensor]:
    _loss(theseus.model, case.inputs).backward()
    return [p.grad for p in theseus.trainable_parameters() if p.grad is not None]


def copies(case: Case) -> Verdict:
    """deepcopy, and pickle where the plain model can be pickled."""
    theseus = case.theseus(ALWAYS)
    wanted = run(theseus.model, case.inputs)
    copied = copy.deepcopy(theseus)
    if verdict := first_of(
        differ(run(copied.model, case.inputs), wanted), differ(run(copied.successor(), case.inputs), wanted)
    ):
        return verdict
    try:
        pickle.dumps(case.model)
    except Exception:
        return None
    loaded = pickle.loads(pickle.dumps(theseus))
    return first_of(
        differ(run(loaded.model, case.inputs), wanted), differ(run(loaded.successor(), case.inputs), wanted)
    )


def half_precision(case: Case) -> Verdict:
    model = copy.deepcopy(case.model).to(torch.bfloat16)
    half = Case(model, case.given, case.layers)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        theseus = half.theseus()
    if not any("bfloat16" in str(each.message) for each in said):
        return "nothing says that the weights that train are bfloat16"
    return differ(run(theseus.model, half.inputs), run(model, half.inputs), 0.02)


def parts_by_what_runs(case: Case) -> Verdict:
    """Modules with weights, by whether their first call comes before or after that of the last layer."""
    stack = find_blocks(case.model, case.given.get("stack"))
    inside = {id(p) for p in stack.layers.parameters()}
    order: list[Any] = []
    last = [
        module for module in stack.layers[-1].modules() if not list(module.children()) and list(module.parameters())
    ]
    hooks = [module.register_forward_hook(lambda *_: order.append(None)) for module in last]
    for name, module in case.model.named_modules():
        own = [p for p in module.parameters(recurse=False) if id(p) not in inside]
        if own and not list(module.children()):
            hooks.append(module.register_forward_hook(lambda *_, n=name, o=own: order.append((n, o))))
    run(case.model, case.inputs)
    for hook in hooks:
        hook.remove()
    end = len(order) - order[::-1].index(None)
    before = {id(p) for entry in order[:end] if entry for p in entry[1]}
    parts = parameters_by_part(case.model, case.given.get("stack"))
    placed = {id(p): part for part, found in parts.items() for p in found}
    for entry in order:
        for parameter in entry[1] if entry else ():
            wanted = "embeddings" if id(parameter) in before else "head"
            if placed.get(id(parameter)) not in (wanted, None):
                return f"{entry[0]} is called {placed[id(parameter)]}, not {wanted}"
    return None if len(placed) == len(list(case.model.parameters())) else "some parameters are in no part"


CHECKS: dict[str, Callable[[Case], Verdict]] = {
    "construct": constructs,
    "p0 = predecessor": p0_is_the_predecessor,
    "eval = successor": eval_is_the_successor,
    "init top/interleaved": starts_from_other_layers,
    "gradients": gradients_reach_what_is_drawn,
    "train": trains,
    "mixed/blend/replace": mixes,
    "save and load": reloads,
    "save top/interleaved/replace": reloads_others,
    "config": config_is_shortened,
    "one config": one_config,
    "eager = sdpa": attention_implementations,
    "set_attn_implementation": sets_attention_later,
    "hidden_states": counts_hidden_states,
    "attentions": counts_attentions,
    "gradient checkpointing": checkpoints,
    "deepcopy/pickle": copies,
    "bfloat16": half_precision,
    "parts": parts_by_what_runs,
    "generate": generates,
    "generate in train mode": generates_in_train_mode,
}
