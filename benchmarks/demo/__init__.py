"""The `demo` suite's ground: a made-up language, four tasks in it, and an encoder pretrained on it. Nothing is fetched.

`language.py` has words and events, `opinions.py` reviews, `syntax.py` nested clauses and their mistakes. `tasks.py`
draws labelled examples from them, `documents.py` plain texts, from which `pretrain.py` made the encoder in `encoder/`.
"""
