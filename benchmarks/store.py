"""The results folder: run folders that appear whole or not at all, and suite.json. docs/results.md has the format."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.arms import Arm
from benchmarks.disk import sync
from benchmarks.errors import SuiteError
from benchmarks.owner import HOST
from benchmarks.plan import PREDECESSOR, PREDECESSOR_ARM, Plan, Run
from benchmarks.stopping import Stopped, lost
from benchmarks.tasks import AT_CHANCE, find_task


def dump(value: Any) -> str:
    """JSON for people and machines alike; refuses NaN and infinity."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _replace(path: Path, text: str) -> None:
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(partial).chmod(0o644)
    Path(partial).replace(path)


# folders of one machine are nobody else's
LOCAL: dict[str, Any] = {"data": {"path"}, "encoder": {"path"}, "predecessor": {"paths"}}
OWN_ENCODER = {"encoder": {"path"}}


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return value


@dataclass(frozen=True)
class Store:
    """One suite's results folder."""

    path: Path

    def open(self) -> None:
        """Make the folder and prove that it can be written to. Raises `SuiteError` otherwise."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            why = error.strerror or error
            raise SuiteError(
                f"cannot write results to {self.path} ({why}): choose another folder with --results"
            ) from None

    def result(self, run: Run) -> dict[str, Any] | None:
        """A run's result.json, else None."""
        return _read_json(self.path / run.folder / "result.json")

    def stamp(self, run: Run) -> tuple[int, int] | None:
        """Changes whenever another result.json takes a run's place; None without one."""
        folder = self.path / run.folder
        try:
            os.listdir(folder.parent)  # opening it is what makes a network file system look again
            found = (folder / "result.json").stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def seconds(self, run: Run) -> float | None:
        """How long a finished run took, from loading to writing, without the predecessor's outputs: one run of many
        computes them."""
        manifest = _read_json(self.path / run.folder / "manifest.json")
        parts: dict[str, float] = (manifest or {}).get("seconds") or {}
        return sum(took for part, took in parts.items() if part != "predecessor_outputs") or None

    def cannot_start(self, run: Run) -> str | None:
        """Why a run's inputs do not do, in words: one has no weights, or its predecessor has learned nothing."""
        for id_, place in ((run.predecessor, run.predecessor_folder), (run.start, run.start_folder)):
            if id_ is None or place is None:
                continue
            folder = self.path / place
            result = _read_json(folder / "result.json")
            if result is None or result["status"] != "done" or not (folder / "successor").is_dir():
                return f"predecessor {id_} has no weights"
            # The last checkpoint: the best of many evaluations would be above chance by luck.
            checkpoint = result["last"]
            if id_ == run.predecessor and run.stop_at_chance and AT_CHANCE in checkpoint["flags"]:
                return (
                    f"its predecessor {id_} scores {checkpoint['score']:.1f} on dev, {AT_CHANCE}: train it longer or "
                    'otherwise ([predecessor] training), or set predecessor.at_chance = "allow"'
                )
        return None

    def settled(self, run: Run) -> bool:
        """Is there nothing more to do? A diverged run would diverge again; a failed one (memory, disk) may not."""
        result = self.result(run)
        if result is None or result["status"] == "failed":
            return False
        kept = (self.path / run.folder / "successor").is_dir()
        return kept or not run.keep_successor or result["status"] == "diverged"

    def cache(self) -> Path:
        return self.path / "cache"

    def checkpoints(self, run: Run) -> Path:
        """Where the state of a run under way is kept."""
        return self.path / ".checkpoints" / run.id

    def start(self) -> Path:
        """An empty folder to fill; `finish` makes it the run's."""
        parent = self.path / ".partial"
        parent.mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(dir=parent, prefix=f"{HOST}-{os.getpid()}-"))

    def finish(self, run: Run, filled: Path) -> None:
        """Move a filled folder into place in one rename, over what an earlier, failed attempt left there.

        Raises `Stopped`, with nothing changed, where the run is another runner's by now or settled already.
        """
        if lost() or self.settled(run):
            self.discard()
            raise Stopped("another runner has taken this run")
        for path in filled.rglob("*"):
            if path.is_file():
                sync(path)
        final = self.path / run.folder
        final.parent.mkdir(parents=True, exist_ok=True)
        filled.chmod(0o755)
        if final.exists():
            final.rename(self.start() / "earlier")
        try:
            filled.rename(final)
            sync(final.parent)
        except OSError as error:
            self.discard()
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # somebody was there first
                raise Stopped("another runner has finished this run") from None
            raise
        self.discard()

    def discard(self) -> None:
        """Remove what this process began to fill."""
        for folder in (self.path / ".partial").glob(f"{HOST}-{os.getpid()}-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def forget_checkpoints(self, runs: Iterable[Run]) -> None:
        """Remove what done runs left that were killed between writing their result and removing it themselves."""
        for run in runs:
            folder = self.checkpoints(run)
            if folder.is_dir() and (result := self.result(run)) and result["status"] == "done":
                shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what dead workers of this machine left half-filled."""
        for folder in (self.path / ".partial").glob(f"{HOST}-*-*"):
            owner = int(folder.name.removeprefix(f"{HOST}-").partition("-")[0])
            try:
                os.kill(owner, 0)
            except ProcessLookupError:
                shutil.rmtree(folder, ignore_errors=True)
            except PermissionError:
                continue

    def write_suite(self, plan: Plan) -> None:
        _replace(self.path / "suite.json", dump(describe(plan)))

    def speed_is_current(self, key: str, subject: str) -> bool:
        """Was speed.json measured under the settings of `key`, or is it a whole matrix of the same `subject`?"""
        try:
            found: dict[str, Any] = json.loads((self.path / "speed.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return False
        whole = found.get("matrix") is True and found.get("complete") is True
        return found.get("key") == key or (whole and found.get("subject") == subject)

    def write_speed(self, document: dict[str, Any], key: str, matrix: bool = False) -> None:
        """speed.json; what an interruption left has no key, so that it is measured again."""
        head = {"schema": 1, "key": key if document["complete"] else None, "matrix": matrix}
        _replace(self.path / "speed.json", dump({**head, **document}))


def describe(plan: Plan) -> dict[str, Any]:
    """suite.json: all that a report needs to know of the suite, and its planned runs."""
    suite = plan.suite
    return {
        "schema": 1,
        "name": suite.name,
        "title": suite.title,
        "description": suite.description.strip(),
        "synthetic": suite.synthetic,
        "comparable": suite.comparison.comparable,
        "comparison": suite.comparison.reason,
        "table": suite.comparison.table,
        "protocol": suite.protocol,
        "statistic": suite.statistic,
        "held_out": suite.held_out,
        "unequal_budget": suite.unequal_budget,
        "steps": suite.steps,
        "x_title": suite.x_title,
        "encoder": {
            "name": suite.encoder.name,
            "revision": suite.encoder.revision,
            "layers": suite.encoder.layers,
            "hidden_size": suite.encoder.hidden_size,
        },
        "successor_layers": suite.successor_layers,
        "tasks": [_task(name) for name in suite.tasks],
        "arms": [_arm(name, arm, plan) for name, arm in ((PREDECESSOR, PREDECESSOR_ARM), *suite.arms.items())],
        "seeds": suite.seeds,
        "predecessor_per_seed": suite.predecessor.per_seed,
        "runs": [
            {"run_id": run.id, "task": run.task.name, "arm": run.arm, "method": run.method, "seed": run.seed,
             "trial": run.trial, "folder": run.folder}
            for run in plan.runs
        ],
        "resolved": suite.model_dump(mode="json", exclude=LOCAL | {"arms": dict.fromkeys(suite.arms, OWN_ENCODER)}),
    }  # fmt: skip


def _task(name: str) -> dict[str, Any]:
    task = find_task(name)
    return {
        "name": task.name,
        "title": task.title,
        "published": task.published,
        "score": task.score,
        "in_macro": task.in_macro,
        "train_examples": task.train_rows,
        "dev_examples": task.dev,
        "notes": list(task.notes),
    }


def _arm(name: str, arm: Arm, plan: Plan) -> dict[str, Any]:
    depths = {run.layers for run in plan.runs if run.arm == name}
    return {
        "name": name,
        "title": arm.title,
        "method": arm.method,
        "layers": min(depths) if depths else None,
        "published": arm.published,
        "group": arm.group,
        "x": arm.x,
        "trials": arm.trials(),
    }
