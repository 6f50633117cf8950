"""Small models of the architectures the library is tested on, and where each keeps its parts."""

from __future__ import annotations

import torch
from torch import nn
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from tests import tiny

BERT_LIKE = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 65}
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}

# By the names transformers gives parameters.
PREFIXES = {
    "bert": {
        "embeddings": ("bert.embeddings.",),
        "layers": ("bert.encoder.layer.",),
        "head": ("bert.pooler.", "classifier."),
    },
    "roberta": {
        "embeddings": ("roberta.embeddings.",),
        "layers": ("roberta.encoder.layer.",),
        "head": ("classifier.dense.", "classifier.out_proj."),
    },
    "electra": {
        "embeddings": ("electra.embeddings.", "electra.embeddings_project."),
        "layers": ("electra.encoder.layer.",),
        "head": ("classifier.dense.", "classifier.out_proj."),
    },
    "distilbert": {
        "embeddings": ("distilbert.embeddings.",),
        "layers": ("distilbert.transformer.layer.",),
        "head": ("pre_classifier.", "classifier."),
    },
    "gpt2": {
        "embeddings": ("transformer.wte.", "transformer.wpe."),
        "layers": ("transformer.h.",),
        "head": ("transformer.ln_f.", "score."),
    },
}  # fmt: skip


def model_of(name: str) -> nn.Module:
    """Six layers of that architecture, without dropout."""
    torch.manual_seed(0)
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    if name == "roberta":
        return RobertaForSequenceClassification(RobertaConfig(num_hidden_layers=6, **BERT_LIKE, **off)).eval()
    if name == "electra":  # embeddings of another width than the layers, so that there is a projection
        config = ElectraConfig(embedding_size=16, num_hidden_layers=6, **BERT_LIKE, **off)
        return ElectraForSequenceClassification(config).eval()
    if name == "distilbert":
        config = DistilBertConfig(dim=32, n_layers=6, n_heads=2, hidden_dim=64, vocab_size=65, dropout=0,
                                  attention_dropout=0, seq_classif_dropout=0)  # fmt: skip
        return DistilBertForSequenceClassification(config).eval()
    if name == "gpt2":
        none = {"resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0}
        return GPT2ForSequenceClassification(
            GPT2Config(n_embd=32, n_layer=6, n_head=2, vocab_size=65, **none, **IDS)
        ).eval()
    return tiny.bert(layers=6)
