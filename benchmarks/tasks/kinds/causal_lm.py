"""Causal language modelling: every token of a text is predicted from those before it.

An example begins with the tokenizer's begin token (else its [CLS] or end token), which is read and not predicted. A
token's label is the token after it. The score is 100 / perplexity: the geometric mean of the probabilities of the right
tokens, in per cent. So it has a bound, and a higher score is a better one. Perplexities of tokens compare models of one
tokenizer only; `word_perplexity` spreads the same surprise over the words of the text, and so compares any.
Columns: benchmarks/tasks/language_model.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.tasks.kind import Logits
from benchmarks.tasks.language_model import LanguageModel, label_counts, per_example, perplexity, refuse_empty
from benchmarks.tasks.table import Task
from benchmarks.tasks.tokens import IGNORED, Tokens


class CausalLM(LanguageModel):
    """The next token. `is_decoder` gives models of the BERT family causal attention; others always have it."""

    model_class = "AutoModelForCausalLM"
    causal = True
    scores = "likelihood"

    def config(self, task: Task) -> dict[str, Any]:
        return {"is_decoder": True}

    def encode(self, tokenizer: Any, task: Task, rows: Any, max_length: int, train: bool = False) -> Tokens:
        texts = rows.data[task.columns[0]].to_pylist()
        known = (tokenizer.bos_token_id, tokenizer.cls_token_id, tokenizer.eos_token_id)
        begin = [token for token in known if token is not None][:1]
        whole = tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        cut = [(begin + ids)[:max_length] for ids in whole]
        idx = np.asarray(rows.data["idx"].to_pylist(), dtype=np.int64)
        refuse_empty(task, idx, np.array([len(ids) < 2 for ids in cut]))
        words = [len(text.split()) * (len(ids) - len(begin)) / len(all_) for text, ids, all_ in zip(
            texts, cut, whole, strict=True)]  # fmt: skip
        return Tokens(
            ids=torch.tensor([token for ids in cut for token in ids], dtype=torch.int32),
            types=None,
            offsets=torch.tensor(np.cumsum([0, *map(len, cut)])),
            labels=torch.tensor([token for ids in cut for token in (*ids[1:], IGNORED)]),
            idx=torch.from_numpy(idx),
            pad_id=tokenizer.pad_token_id,
            kind=task.kind,
            words=torch.tensor(words, dtype=torch.float32),
        )

    @torch.no_grad()
    def check_model(self, model: Any) -> None:
        """A token must not see those after it: another last token must change no earlier output."""
        ids = torch.arange(8, device=next(model.parameters()).device)[None]
        other = torch.cat([ids[:, :-1], ids[:, :1]], dim=1)
        one, two = (model(input_ids=given).logits[:, :-1].float() for given in (ids, other))
        if not torch.allclose(one, two, rtol=1e-3, atol=1e-3 * float(one.abs().max())):
            raise ValueError("its tokens see those after them: take a causal model")

    def made_up_labels(self, lengths: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        labels = super().made_up_labels(lengths, generator)
        labels[lengths.cumsum(0) - 1] = IGNORED
        return labels

    def sums(self, task: Task, logits: Logits, tokens: Tokens) -> NDArray[np.float64]:
        scored = tokens.labels.numpy() != IGNORED
        return np.stack([per_example(tokens, np.where(scored, logits[:, 0], 0)), per_example(tokens, scored)], axis=1)

    def beside(self, task: Task, logits: Logits, tokens: Tokens) -> dict[str, float]:
        """Of a text that is cut, the words count in proportion to the tokens that are kept."""
        assert tokens.words is not None
        nats, count = self.sums(task, logits, tokens).sum(axis=0)
        return {
            "perplexity": perplexity(nats, count),
            "word_perplexity": perplexity(nats, float(tokens.words.double().sum())),
        }

    def constant(self, task: Task, dev: Mapping[str, Tokens]) -> float:
        """That of the frequencies of the tokens in dev, the best distribution that ignores the text before a token."""
        found = []
        for tokens in dev.values():
            counts = label_counts(tokens)
            shares = counts[counts > 0] / counts.sum()
            found.append(np.exp((shares * np.log(shares)).sum()))
        return 100.0 * float(np.mean(found))


KIND = CausalLM()
