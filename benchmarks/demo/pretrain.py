"""Pretrain the demo's encoder: 12 layers, hidden size 128, on texts of the demo's own language.

    python -m benchmarks.demo.pretrain                   # replaces the shipped encoder, as `make demo-encoder` does
    python -m benchmarks.demo.pretrain --output DIR      # writes the encoder elsewhere

It takes about 15 to 25 minutes on one core. On a loaded machine of two cores the stage of 4 layers took 801 s and that
of 12 layers 601 s.

The training is BERT's (Devlin et al., 2019): masked words, and one question to the pooled [CLS]: does the second
sentence belong to the same text as the first? Here the wrong second sentences are mostly hard ones (same cast, another
event; or a reviewer who disagrees), so that the answer depends on the sentences' meaning, not on the words they share.

The encoder is grown, not trained deep from the start. Trained from scratch, 12 post-norm layers used nothing but the
neighbouring words after 1200 steps (425 s; masked nouns of a restated sentence: none right); 4 layers copied 64 % of
those nouns after 2000 steps (332 s). So 4 layers learn first, are spread over 12 (`grow`), and train on.

Growing has a consequence for every comparison made with this encoder. Its knowledge lies spread evenly over its depth,
so that its bottom half is a poor start by construction. That weakens the baseline that fine-tunes the bottom 6 layers,
and it may favour module replacing, because neighbouring layers may be easier to merge than those of a published BERT.

It reads `Recipe.documents` random texts from `documents.document`, made from seed 0. The tasks' examples are drawn
separately. It reads no task label, and no ungrammatical sentence except for the random words of BERT's masking. But
texts and tasks share the grammar, the words and the meanings: the pair question is itself about polarity and events,
and short sentences recur by chance. Of the evaluation examples, 142 of 1000 sentences of syn-sst2 occur in the texts
word for word, 21 of 1000 of syn-cola (all acceptable ones), and no pair of syn-stsb or syn-mnli.

It uses one thread on purpose: on one machine and one torch version the weights are then bit-equal every time, whatever
the number of cores. It uses bfloat16 autocast, which is 1.5x faster than float32 where the processor has it, and as
deterministic. The weights are float32 in training and shipped as float16.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import BertConfig, BertForPreTraining, PreTrainedTokenizerFast

from benchmarks.demo.documents import content_words, document, vocabulary

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, MASK = range(5)
IGNORED = -100
SHIPPED = Path(__file__).parent / "encoder"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights. A stage is (layers, steps, peak learning rate); `masked` gives the shares of
    content words and of other words that are masked."""

    documents: int = 250_000
    stages: tuple[tuple[int, int, float], ...] = ((4, 4_500, 2e-3), (12, 700, 8e-4))
    batch_size: int = 64
    warm_up: int = 200
    weight_decay: float = 0.01
    masked: tuple[float, float] = (0.4, 0.08)
    initializer_range: float = 0.04
    seed: int = 0


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer that knows every word of the language and lays out pairs as BERT does."""
    words = {word: index for index, word in enumerate((*SPECIAL, *vocabulary()))}
    backend = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    backend.pre_tokenizer = WhitespaceSplit()
    backend.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=64,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def build_model(vocabulary_size: int, recipe: Recipe) -> BertForPreTraining:
    """The encoder with both of BERT's pretraining heads, freshly initialised. Dropout is off: no text repeats often
    enough to be learned by heart, and 12 narrow layers learn visibly faster without it."""
    config = BertConfig(
        vocab_size=vocabulary_size,
        hidden_size=128,
        num_hidden_layers=recipe.stages[0][0],
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=recipe.initializer_range,
        pad_token_id=PAD,
    )
    torch.manual_seed(recipe.seed)
    model = BertForPreTraining(config)
    model.set_attn_implementation("eager")  # on a CPU, at these lengths, half the time of the fused kernel's backward
    return model


class Texts:
    """Documents as word ids, their batches, and the masking."""

    def __init__(self, number: int, seed: int):
        self.random = Random(seed)
        index = {word: i for i, word in enumerate((*SPECIAL, *vocabulary()))}
        stop = index["."]
        self.texts: list[tuple[list[int], int, int]] = []
        for _ in range(number):
            text = document(self.random)
            first = [CLS, *(index[word] for word in text.first), stop, SEP]
            second = [*(index[word] for word in text.second), stop, SEP]
            self.texts.append((first + second, len(first), text.follows))
        self.generator = torch.Generator().manual_seed(seed)
        self.words = len(index)
        self.content = torch.zeros(self.words, dtype=torch.bool)
        self.content[[index[word] for word in content_words()]] = True

    def batches(self, size: int, pool: int = 32) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """`(inputs, follows)` without end, texts of similar length together (sorted within pools of `pool` batches)."""
        while True:
            order = list(range(len(self.texts)))
            self.random.shuffle(order)
            for start in range(0, len(order) - size * pool + 1, size * pool):
                some = sorted(order[start : start + size * pool], key=lambda i: len(self.texts[i][0]))
                groups = [some[i : i + size] for i in range(0, len(some), size)]
                self.random.shuffle(groups)
                yield from map(self.collate, groups)

    def collate(self, members: list[int]) -> tuple[dict[str, Tensor], Tensor]:
        """`input_ids`, `token_type_ids`, `attention_mask`, each (batch, longest), and `follows` (batch)."""
        chosen = [self.texts[i] for i in members]
        rows = {
            "input_ids": [ids for ids, _, _ in chosen],
            "token_type_ids": [[0] * first + [1] * (len(ids) - first) for ids, first, _ in chosen],
            "attention_mask": [[1] * len(ids) for ids, _, _ in chosen],
        }
        # it pads with 0, which is PAD
        inputs = {name: pad_sequence([*map(torch.tensor, found)], batch_first=True) for name, found in rows.items()}
        return inputs, torch.tensor([IGNORED if f < 0 else f for _, _, f in chosen])

    def mask(self, ids: Tensor, shares: tuple[float, float]) -> tuple[Tensor, Tensor]:
        """BERT's masking: of the chosen words 80 % become [MASK], 10 % a random word, 10 % stay. Content words are
        chosen more often, because neighbours mostly give the others away. Returns the new ids and the chosen places."""
        share = torch.where(self.content[ids], *shares)
        chosen = (torch.rand(ids.shape, generator=self.generator) < share) & (ids >= len(SPECIAL))
        how = torch.rand(ids.shape, generator=self.generator)
        other = torch.randint(len(SPECIAL), self.words, ids.shape, generator=self.generator)
        masked = torch.where(chosen & (how < 0.8), torch.full_like(ids, MASK), ids)
        return torch.where(chosen & (how >= 0.9), other, masked), chosen


def predict(model: BertForPreTraining, inputs: dict[str, Tensor], where: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of the chosen words only (chosen, words), and of `follows` (batch, 2), in float32."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model.bert(**inputs)
        words = model.cls.predictions(output.last_hidden_state[where])
        follows = model.cls.seq_relationship(output.pooler_output)
    return words.float(), follows.float()


@torch.no_grad()
def evaluate(model: BertForPreTraining, texts: Texts, batches: int = 8) -> dict[str, float]:
    """Accuracy on masked words and on the pair question, over the held-out `texts`."""
    model.eval()
    right = asked = paired = pairs = 0
    for inputs, follows in (texts.collate(list(range(i * 128, i * 128 + 128))) for i in range(batches)):
        labels = inputs["input_ids"]
        inputs["input_ids"], where = texts.mask(labels, Recipe.masked)
        words, relation = predict(model, inputs, where)
        right += int((words.argmax(-1) == labels[where]).sum())
        asked += int(where.sum())
        known = follows >= 0
        paired += int((relation.argmax(-1)[known] == follows[known]).sum())
        pairs += int(known.sum())
    model.train()
    return {"word_accuracy": right / asked, "pair_accuracy": paired / pairs}


def grow(model: BertForPreTraining, layers: int) -> None:
    """Deepen to `layers`, in place. After each layer come new ones that change nothing yet (output matrices zero,
    normalisations those of the layer before), so that the learned layers are spread evenly over the deeper model."""
    grown = torch.nn.ModuleList()
    layer: Any
    for layer in list(model.bert.encoder.layer):
        grown.append(layer)
        for _ in range(layers // model.config.num_hidden_layers - 1):
            new = copy.deepcopy(layer)
            for part in (new.attention.output, new.output):
                torch.nn.init.zeros_(part.dense.weight)
                torch.nn.init.zeros_(part.dense.bias)
                part.LayerNorm.load_state_dict(layer.output.LayerNorm.state_dict())
            grown.append(new)
    model.bert.encoder.layer = grown
    model.config.num_hidden_layers = len(grown)


def train(model: BertForPreTraining, texts: Texts, held_out: Texts, recipe: Recipe) -> dict[str, float]:
    """Train in place, stage by stage; returns the last held-out accuracies."""
    batches, scores = texts.batches(recipe.batch_size), {}
    for layers, steps, peak in recipe.stages:
        if layers > model.config.num_hidden_layers:
            grow(model, layers)
        began = time.monotonic()
        optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=recipe.weight_decay)
        model.train()
        for step in range(1, steps + 1):
            for group in optimizer.param_groups:
                group["lr"] = peak * min(step / recipe.warm_up, 1 - step / (steps + 1))
            loss = update(model, optimizer, texts, next(batches), recipe.masked)
            if step % 200 == 0 or step == steps:
                scores = evaluate(model, held_out)
                shown = " ".join(f"{name} {value:.3f}" for name, value in scores.items())
                seconds = time.monotonic() - began
                print(f"{layers} layers, step {step}, {seconds:.0f} s: loss {loss:.3f} {shown}", flush=True)
                if not math.isfinite(loss):
                    raise RuntimeError(f"pretraining diverged at step {step} with {layers} layers")
    return scores


def update(
    model: BertForPreTraining,
    optimizer: torch.optim.Optimizer,
    texts: Texts,
    batch: tuple[dict[str, Tensor], Tensor],
    masked: tuple[float, float],
) -> float:
    """One optimizer step on one batch; returns the loss."""
    inputs, follows = batch
    labels = inputs["input_ids"]
    inputs["input_ids"], where = texts.mask(labels, masked)
    words, relation = predict(model, inputs, where)
    loss = cross_entropy(words, labels[where]) + cross_entropy(relation, follows, ignore_index=IGNORED)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def save(model: BertForPreTraining, folder: Path, summary: dict[str, object]) -> None:
    """Write weights (float16), config with BERT's usual dropout, tokenizer and `pretraining.json`."""
    model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = 0.1
    model.config.initializer_range = 0.02
    model.half().save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    (folder / "pretraining.json").write_text(json.dumps(summary, indent=1) + "\n")


def pretrain(recipe: Recipe, folder: Path) -> None:
    texts, held_out = Texts(recipe.documents, recipe.seed), Texts(1_024, recipe.seed + 1)
    model = build_model(texts.words, recipe)
    scores = train(model, texts, held_out, recipe)
    save(model, folder, {"stages": recipe.stages, "seed": recipe.seed, **scores})


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument(
        "--output", type=Path, help="folder for the encoder and its tokenizer (default: the shipped one)"
    )
    parser.add_argument("--share", type=float, default=1.0, help="share of the steps to take, for a quick look")
    chosen = parser.parse_args(arguments)
    if not chosen.share > 0:
        parser.error("--share must be above 0")
    if chosen.share != 1 and chosen.output is None:
        parser.error("--share makes other weights than the shipped ones: name another folder with --output")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    # Filling new memory only shows reads of unwritten memory, and takes 15 % of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    stages = tuple((layers, math.ceil(steps * chosen.share), peak) for layers, steps, peak in Recipe.stages)
    pretrain(Recipe(stages=stages), chosen.output or SHIPPED)


if __name__ == "__main__":
    main()
