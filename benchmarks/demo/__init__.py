"""The world of the `demo` suite: a made-up language, four tasks, and an encoder pretrained on it. It needs no download.

`language.py` has words and events, `opinions.py` reviews, `syntax.py` nested clauses and their mistakes. `tasks.py`
draws labelled examples from them, and `documents.py` the texts that `pretrain.py` used to train `encoder/`.
"""
