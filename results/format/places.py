"""Published text names no folder, user or host of the machine where a run was made.

    hidden("cannot read /data/jane/glue/rte.parquet")      # cannot read …/rte.parquet
    hidden_here(text)                                       # the same, and this machine's own folders and names

A report, export or bundle may be read by anybody, and the reason of a failed run quotes what a library said. So reasons
are written without places (`hidden_here`, which knows the names to look for), and read without them (`hidden`), because
a results folder may be older or from elsewhere. The terminal shows a reason as it is.
"""

from __future__ import annotations

import os
import platform
import re
import tempfile
from pathlib import Path

from results.format.layout import STAGING
from results.format.untrusted import text as clean

PART = r"[^\s/\\'\"`<>()\[\]{},;:]+"
PATHS = re.compile(
    rf"(?P<quote>['\"`])(?:~|[A-Za-z]:)?[/\\][^'\"`]*(?P=quote)"  # in quotes a path may hold spaces
    rf"|(?<![\w.…~/-])(?!(?<=:)//)(?:file://)?(?:~\w*)?(?:/+{PART})+/*"
    rf"|(?<!\w)[A-Za-z]:(?:\\+{PART})+\\*|\\\\{PART}(?:\\+{PART})+"
)
OWNER = re.compile(rf"{re.escape(STAGING)}[/\\]{PART}")  # a half-filled folder is named after its machine
NOBODY = {"root", "user", "home", "localhost"}


def hidden(text: str) -> str:
    """The text, in which each absolute path is an ellipsis with the name of its file."""
    return PATHS.sub(_name, OWNER.sub(f"{STAGING}/…", text))


def _name(found: re.Match[str]) -> str:
    quote = found["quote"] or ""
    parts = [part for part in re.split(r"[/\\]+", found[0].strip(quote or None)) if part]
    # the second part of a path is often a user's name: /home/jane, /scratch/jane
    return f"{quote}…/{parts[-1]}{quote}" if len(parts) > 2 else f"{quote}…{quote}"


def reason(value: object, where: str) -> str | None:
    """Reads the reason of a failure, which quotes foreign text."""
    return hidden(clean(value, 500)) or None


def hidden_here(text: str, *folders: Path) -> str:
    """The text without paths, without the names of this machine's folders, user and host, and without `folders`."""
    for folder in sorted({str(one) for one in (*folders, *_folders()) if len(one.parts) > 1}, key=len, reverse=True):
        text = text.replace(folder, "/…/…")  # a folder with a space in its name ends no path
    text = hidden(text)
    names = {os.environ.get("USER"), os.environ.get("LOGNAME"), platform.node(), platform.node().partition(".")[0]}
    for name in sorted((one for one in names if one and len(one) > 2 and one not in NOBODY), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text)
    return text


def _folders() -> list[Path]:
    found = [Path(tempfile.gettempdir()), Path.cwd()]
    try:
        return [*found, Path.home()]
    except RuntimeError:  # nobody's home
        return found
