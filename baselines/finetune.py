"""Fine-tuning of the shallow model: by default the bottom k layers of the *pretrained* encoder under a fresh head.

This is the paper's weakest baseline ("Fine-tuning", Table 2). Its authors tried the top and interleaved layers too and
found the bottom ones best (footnote 4). With `start` it becomes a control for a part of Theseus: it can start from the
predecessor's layers, and also freeze the predecessor's embeddings and head, which is Theseus at p = 1 throughout.
"""

from __future__ import annotations

from baselines.parts.start import Shallow


class Finetune(Shallow):
    """Fine-tuning of the shallow model with the task loss alone."""


METHOD = Finetune
