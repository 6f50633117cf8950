"""What strangers write into names and texts, by what they are after. Made here, so that no file of it is committed."""

from __future__ import annotations

from pathlib import Path

XSS = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</title><script>alert(1)</script>",
    "</style><svg onload=alert(1)>",
    "<iframe src=https://evil.example/></iframe>",
    "{{7*7}}{% for x in ().__class__.__mro__ %}",
    "]]><script>alert(1)</script>",
    "<a href=javascript:alert(1)>x</a>",
)
FORMULAS = (
    '=HYPERLINK("https://evil.example";"x")',
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    " =1+1",
    "\u200b=1+1",
    "\u00a0=1+1",
    "\uff1d1+1",
    "\uff0b1+1",
    "\ufe6b1+1",
)
PATHS = (
    "../../outside",
    "/etc/passwd",
    "..",
    "a/../../b",
    "a\\..\\b",
    "C:\\x",
    "\\\\host\\share",
    "a/\u2025/b",
    "con\x00.json",
    "a\n",
    "~root",
    "file://x",
    "x/",
    "",
    ".hidden",
)
CONTROLS = (
    "\x1b[2J\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "\x9b31m",
    "a\rb",
    "abc\x08\x08\x08xyz",
    "\u202egnp.exe",
    "\u2066\u2069\u200f\u061c",
    "\ufeffa\u00ad\u200d",
    "\x00\x07\x7f\x85",
    "line\u2028separator\u2029",
    "\U000e0041\U000e007f",
    "\ud800",
)
MARKUP = ("$x^$", r"\frac{", "%s %d {0}", r"\input{/etc/passwd}", "`rm -rf`", "| a | b |", 'url(#x) id="y" #010101')
ALL = (*XSS, *FORMULAS, *PATHS, *CONTROLS, *MARKUP)


def long_line(size: int = 10 * 2**20) -> str:
    """Ten million characters on one line, with an escape sequence at the start."""
    return "\x1b[31m" + "A" * size


def deep(levels: int = 100_000) -> str:
    """JSON (and TOML) arrays within each other."""
    return "[" * levels + "]" * levels


def zeros(path: Path, size: int) -> Path:
    """A file that says it has `size` bytes and has none on the disk."""
    with path.open("wb") as file:
        file.truncate(size)
    return path
