"""The hub as its two clients answer: why it gave nothing, what to do then, and whether what is cached of it is whole.

huggingface_hub and datasets raise two dozen kinds of error, some of them with a page of text, and datasets drops the
cause of its own. So an error is known by the names and texts of its chain; one that is not known is quoted.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

from benchmarks.base.errors import SuiteError
from results.format.untrusted import file_digest

CAUSES = {
    r"GatedRepo|gated dataset": "is gated: accept its terms on the hub and log in with `hf auth login`",
    r"RevisionNotFound|Revision '\w+' doesn't exist": "is gone: the hub has no such commit; pin another revision",
    r"RepositoryNotFound|doesn't exist on the Hub": (
        "is not on the hub or is private: check its name, or log in with `hf auth login`"
    ),
    r"OfflineMode|outgoing traffic|Couldn't reach|ConnectError|Timeout": (
        "is not cached here whole, and the hub is out of reach: connect this machine (and unset HF_HUB_OFFLINE)"
    ),
    r"RemoteProtocolError|ReadError|Consistency check": "broke off while it was downloaded: run the command again",
    r"ArrowInvalid|Expected to be able to read": (
        "is damaged, on the hub or where it is cached: remove its folders under HF_HOME (~/.cache/huggingface) and run "
        "the command again"
    ),
}


def told(error: BaseException, line: str) -> str:
    """What an error of a client means and what to do, to follow the name of what was asked for. `line`: its text, for
    an error that is not known."""
    chain, following = "", [error]
    for one in following:  # of an error that is its own cause there may be no end
        chain += f"{type(one).__name__}: {one}\n"
        following += [cause for cause in (one.__cause__ or one.__context__,) if cause and cause not in following]
    return next(
        (words for sign, words in CAUSES.items() if re.search(sign, chain)),
        f"cannot be downloaded ({line}): run the command again",
    )


def stay_offline_if_out_of_reach(say: Callable[[str], None]) -> None:
    """Ask the hub once whether it is there. Where it is not, this process and its workers use what is cached and do not
    try again: for each file the clients would try for half a minute."""
    import datasets  # these two take seconds, and only a suite that reads from the hub needs them
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=10)
    except Exception as error:  # the kinds are those of the client's HTTP library, which changed twice
        say(f"warning: the hub at {constants.ENDPOINT} cannot be reached ({error}): what is cached of it is used")
        os.environ["HF_HUB_OFFLINE"] = "1"
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True


def check_cached(folder: Path, place: str) -> None:
    """Raises `SuiteError` if a file of a folder in the client's cache is not the one that was downloaded. The client
    does not look: it names a file by the hub's hash of it, and reads it by its name."""
    for path in sorted(folder.rglob("*")):
        blob = path.resolve()
        if path.is_file() and re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", blob.name) and blob.name != _etag(blob):
            raise SuiteError(f"{place}: {blob} is damaged: remove this file and run the command again")


def _etag(path: Path) -> str:
    """Large files have their sha256 for a name, others the hash that git gives them."""
    if len(path.name) == 64:
        return file_digest(path)
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
