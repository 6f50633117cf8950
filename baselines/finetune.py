"""Fine-tuning of the shallow model: by default the bottom k layers of the *pretrained* encoder under a fresh head.

The paper's weakest baseline ("Fine-tuning", Table 2). Its authors tried the top and interleaved layers too and
found the bottom ones best (footnote 4). `start` makes it the controls that separate Theseus's parts: from the
predecessor's layers, and with the predecessor's embeddings and head frozen, which is Theseus at p = 1 throughout.
"""

from __future__ import annotations

from baselines.start import Shallow


class Finetune(Shallow):
    """Plain task loss."""


METHOD = Finetune
