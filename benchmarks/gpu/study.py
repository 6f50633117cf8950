"""Pack the study of docs/study.md for a GPU machine that reaches nothing, and run it there within some minutes.

    python -m benchmarks.gpu.study pack FOLDER                     encoder, data and suite files: about 50 MB
    python -m benchmarks.gpu.study run FOLDER OUTPUT --minutes 9   there: search, choice of the winners, confirmation

The encoder travels in float16, half its size. That rounds its weights, so the packed suites have names of their own
and their runs other ids. `run` stops in time and leaves OUTPUT/search.zip and OUTPUT/study.zip, bundles of the runs
that are done, and OUTPUT/study.toml, the study's suite file with the winners. Bundles that lie in FOLDER are imported
first, so that a second call goes on where the first one stopped. GLUE_DIR and ENCODER_DIR name data and encoder when
packing.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from safetensors.torch import load_file, save_file

from benchmarks.base.errors import BAD_INPUT, DONE, FAILED, INTERRUPTED
from benchmarks.suites.file import suite_path
from benchmarks.suites.suite import load_suite
from results.format import layout
from results.format.errors import UserError
from results.format.untrusted import file_digest

STOP = 30.0  # seconds that a stopped run may take to finish its step and write a checkpoint
WRITE = 20.0  # seconds for the bundles
WEIGHTS = "model.safetensors"
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def pack(folder: Path, search: str, study: str) -> None:
    """Write encoder, data, search.toml and study.toml into `folder`."""
    places = {name: os.environ.get(name) for name in ("GLUE_DIR", "ENCODER_DIR")}
    missing = [name for name, value in places.items() if not value or not Path(value).is_dir()]
    if missing:
        raise UserError(f"{' and '.join(missing)} must name a folder: see docs/study.md")
    data, encoder = (Path(str(value)) for value in places.values())
    for task in load_suite(search).tasks:
        if (data / task).is_dir():
            shutil.copytree(data / task, folder / "glue" / task, dirs_exist_ok=True)
    (folder / "encoder").mkdir(parents=True, exist_ok=True)
    halves = {name: t.half() if t.is_floating_point() else t for name, t in load_file(encoder / WEIGHTS).items()}
    save_file(halves, folder / "encoder" / WEIGHTS, {"format": "pt"})
    for name in FILES:
        if (encoder / name).is_file():
            shutil.copy2(encoder / name, folder / "encoder" / name)
    for suite, name in ((search, "search"), (study, "study")):
        text = suite_path(suite).read_text(encoding="utf-8")
        text = re.sub(r'(?m)^name = "(.*)"$', r'name = "packed-\1"', text, count=1)
        if name == "study":
            text = re.sub(r"(?m)^extends = .*$", 'extends = "search"', text, count=1)
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")


def run(folder: Path, output: Path, seconds: float, tasks: str | None, workers: int | None, device: str) -> int:
    """Search, choose and confirm until the time is over, then bundle what is done; return the exit code."""
    until = time.monotonic() + seconds - STOP - WRITE
    output.mkdir(parents=True, exist_ok=True)
    for name in ("search", "study"):
        if (folder / f"{name}.zip").is_file():
            _benchmarks(folder, "import", f"{name}.zip", "--results", f"results/{name}", "--only-missing")
    digest = file_digest(folder / "encoder" / WEIGHTS)
    few = ["--set", f'encoder.sha256="{digest}"', "--set", f'device.device="{device}"']
    few += [*(["--tasks", tasks] if tasks else []), *(["--workers", str(workers)] if workers else [])]
    steps = (
        ("run", "search.toml", "--results", "results/search", *few),
        ("choose", "results/search", "study.toml"),
        ("run", "study.toml", "--results", "results/study", *few),
    )
    code = DONE
    for step in steps:
        code = _benchmarks(folder, *step, until=until)
        if code != DONE:
            break
    shutil.copy2(folder / "study.toml", output / "study.toml")
    for name in ("search", "study"):
        if (folder / "results" / name / layout.SUITE).is_file():
            _benchmarks(folder, "bundle", f"results/{name}", "--output", str((output / f"{name}.zip").resolve()))
    return code


def _benchmarks(folder: Path, *arguments: str, until: float | None = None) -> int:
    """One command of the suite, in `folder`; it is stopped, so that it goes on later, when the time is over."""
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    given = {"GLUE_DIR": "glue", "ENCODER_DIR": "encoder", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", "benchmarks", *arguments]
    with subprocess.Popen(command, cwd=folder, env={**os.environ, **given}) as process:
        try:
            return process.wait(None if until is None else max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            return process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.study", description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="write encoder, data and suite files into a folder")
    packing.add_argument("folder", type=Path)
    packing.add_argument("--search", default="minilm-attribution-search", help="the suite that searches")
    packing.add_argument("--study", default="minilm-attribution", help="the suite that confirms")
    running = commands.add_parser("run", help="run a packed folder")
    running.add_argument("folder", type=Path)
    running.add_argument("output", type=Path)
    running.add_argument("--minutes", type=float, default=9.0)
    running.add_argument("--tasks", help="only these tasks, comma-separated")
    running.add_argument("--workers", type=int)
    running.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    asked = parser.parse_args()
    try:
        if asked.command == "pack":
            pack(asked.folder, asked.search, asked.study)
            return DONE
        if not (asked.folder / "search.toml").is_file():
            raise UserError(f"{asked.folder}: not a packed study; `pack` writes one")
        code = run(asked.folder, asked.output, 60 * asked.minutes, asked.tasks, asked.workers, asked.device)
        return code if code in (DONE, INTERRUPTED, BAD_INPUT) else FAILED
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
