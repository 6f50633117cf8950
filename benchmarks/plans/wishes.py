"""Check before anything runs that the runner can serve the predecessor outputs that a method wants."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from baselines.method import LOGITS, Method, Output
from benchmarks.base.errors import SuiteError
from benchmarks.models.source import EncoderSource


def check_wishes(arm: str, method: Method, modules: int, predecessor: EncoderSource, own_words: bool) -> None:
    """Raises `SuiteError` for an output that the predecessor cannot give. `own_words`: the arm uses a tokenizer of its
    own, so that its tokens may not be the predecessor's."""
    wishes: Collection[Any] = method.needs(predecessor.layers, modules)  # whatever a rival gives
    if strangers := [wish for wish in wishes if not isinstance(wish, Output)]:
        raise SuiteError(f"arm {arm}: needs() gave {strangers[0]!r}: give objects of baselines.method.Output")
    if wishes and not method.uses_predecessor:
        raise SuiteError(f"arm {arm} wants outputs of a predecessor, but its method has uses_predecessor = False")
    for wish in sorted(wishes, key=lambda wish: (str(wish.layer).zfill(9), str(wish))):
        what = f"arm {arm} wants the predecessor's {wish.what}"
        if wish.what not in ("logits", "state") or wish.tokens not in ("first", "all"):
            raise SuiteError(f"{what} of {wish.tokens} tokens: ask for logits, or for the state of first or all tokens")
        if wish.what == "logits" and wish != LOGITS:
            raise SuiteError(f"{what} of a layer or of all tokens: a classifier has one row an example, LOGITS")
        if wish.what == "state" and not (isinstance(wish.layer, int) and 1 <= wish.layer <= predecessor.layers):
            raise SuiteError(f"{what} after layer {wish.layer}: the predecessor has layers 1 to {predecessor.layers}")
        if wish.tokens == "all" and own_words:
            raise SuiteError(f"{what} of all tokens, but may cut other tokens itself: use the first token's state")
