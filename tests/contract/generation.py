"""The checks of decoders that generate text."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from tests.contract.case import ALWAYS, Case, Verdict
from theseus.models.probing import small_input


def _prompt(case: Case) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 60, (2, 5), generator=generator)
    return {"attention_mask": torch.ones_like(ids), "input_ids": ids}


def _can_generate(case: Case) -> bool:
    return (
        isinstance(case.model, PreTrainedModel) and case.model.can_generate() and "input_ids" in small_input(case.model)
    )


def _generated(model: Any, case: Case, **more: Any) -> torch.Tensor:
    found: torch.Tensor = model.generate(**_prompt(case), max_new_tokens=6, min_new_tokens=6, do_sample=False, **more)
    return found


def _generates_when_plain(case: Case) -> bool:
    """Whether transformers can use a cache with the successor's config at all. (It builds the cache of T5's decoder
    from the depth of the encoder, and fails where the encoder is the shallower one.)"""
    successor = case.theseus(ALWAYS).successor()
    try:
        _generated(type(successor)(successor.config).eval(), case, use_cache=True)
    except IndexError:
        return False
    return True


def generates(case: Case) -> Verdict:
    if not _can_generate(case) or not _generates_when_plain(case):
        return "n"
    for init in ("bottom", "top", "interleaved"):
        theseus = case.theseus(ALWAYS, init=init)
        successor = theseus.successor()
        wanted = _generated(successor, case, use_cache=False)
        if not torch.equal(_generated(successor, case, use_cache=True), wanted):
            return f"{init}: the successor generates otherwise with its cache"
        theseus.model.eval()
        for use_cache in (None, True, False):
            more = {} if use_cache is None else {"use_cache": use_cache}
            if not torch.equal(_generated(theseus.model, case, **more), wanted):
                return f"{init}: theseus.model generates otherwise with use_cache={use_cache}"
    return None


def generates_in_train_mode(case: Case) -> Verdict:
    if not _can_generate(case):
        return "n"
    theseus = case.theseus()
    wanted = _generated(case.model, case, use_cache=False)
    for more in ({}, {"use_cache": True}):
        if not torch.equal(_generated(theseus.model, case, **more), wanted):
            return f"p0 generates otherwise than the predecessor with {more}"
    return None
