"""The model card of a successor: a README.md with the hub's metadata and what the successor is made of."""

from __future__ import annotations

import json
from typing import Any

from torch import nn

TEXT = """---
{data}
---

# {title}

This model is a successor of {predecessor}, compressed with BERT-of-Theseus
([Xu et al., EMNLP 2020](https://arxiv.org/abs/2002.02925)): in training, modules of the predecessor were progressively
replaced by layers of this model, as the table says. It is a plain `{class_name}` with {parameters:,} parameters, and
needs nothing but {library} to run.

| | |
| --- | --- |
{rows}
"""


def card_of(model: nn.Module, provenance: dict[str, Any], data: dict[str, Any]) -> str:
    """The card of the successor of the gated `model`."""
    name = provenance["predecessor"]
    sentences = type(model).__module__.startswith("sentence_transformers.")
    library = "sentence-transformers" if sentences else "transformers"
    known = {"library_name": library, "tags": ["bert-of-theseus", "model-compression"], "base_model": _hub_name(name)}
    fields = {key: value for key, value in {**known, **data}.items() if value is not None and key != "model_name"}
    rows = (f"| {key.replace('_', ' ')} | {_shown(value)} |" for key, value in provenance.items() if value is not None)
    return TEXT.format(
        data="\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()),  # also YAML
        title=data.get("model_name") or "BERT-of-Theseus successor", library=library,
        predecessor=f"`{name}`" if name else "a model without a name", class_name=type(model).__name__,
        parameters=_parameters(model), rows="\n".join(rows),
    )  # fmt: skip


def _hub_name(name: str | None) -> str | None:
    """The hub takes `owner/name` as a base model, and nothing else."""
    return name if name and name.count("/") == 1 else None


def _parameters(model: nn.Module) -> int:
    """Those of the successor: of the gated model without the predecessor's layers."""
    return sum(weight.numel() for name, weight in model.named_parameters() if ".predecessor." not in name)


def _shown(value: Any) -> str:
    shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return shown.replace("|", "\\|")
