"""What may be read by anybody names no folder, user or host of the machine where it was made."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.base.errors import FAILED, ROOT
from reports import read, render
from results.format.places import hidden
from tests import tiny
from tests.command import cli
from tests.report.make_results import make_results

HOST, USER = "standing-out-host", "standingoutuser"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot read /data/jane/glue/rte.parquet: gone", "cannot read …/rte.parquet: gone"),
        ("at /home/jane", "at …"),
        ("'/home/jane doe/my file.txt' is missing", "'…/my file.txt' is missing"),
        ("~jane/a/b.txt, ~/a/b.txt, file:///home/jane/x", "…/b.txt, …/b.txt, …/x"),
        (r"C:\Users\jane\x.txt and \\host\share\x", "…/x.txt and …/x"),
        ("path=/usr/lib/x:/usr/lib/y", "path=…/x:…/y"),
        ("out/.partial/host-0123-7-abc/data/x", "out/.partial/…/data/x"),
        ("F1/accuracy, 3 / 4, https://a.example/b/c", "F1/accuracy, 3 / 4, https://a.example/b/c"),
        (r"$x^$ \frac{1}", r"$x^$ \frac{1}"),
    ],
)
def test_paths_are_hidden_and_nothing_else(text: str, shown: str) -> None:
    assert hidden(text) == shown
    assert hidden(shown) == shown


def texts(*places: Path) -> Iterator[tuple[str, str]]:
    """The name and content of every file under some folders, and of every file in the archives there."""
    for path in (path for place in places for path in place.rglob("*") if path.is_file()):
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                yield from ((name, archive.read(name).decode("utf-8", "replace")) for name in archive.namelist())
        yield path.name, path.read_text(encoding="utf-8", errors="replace")


def test_the_report_of_a_folder_that_holds_paths_shows_none(tmp_path: Path, capfd) -> None:
    """It may be older than this rule, or from elsewhere."""
    root = make_results(tmp_path / "in", tasks=("rte",), arms=("predecessor", "kd", "theseus"), seeds=(1, 2))
    (tmp_path / "out").mkdir()
    assert cli("accept", root, "--output", tmp_path / "out/accepted.json") == 0
    why = f"OSError: [Errno 28] No space left on device: '/home/{USER}/a b/x.bin', see /mnt/{USER}/y"
    result = next(root.glob("rte/kd/seed-1-*/result.json"))
    failed = json.loads(result.read_text("utf-8")) | {"status": "failed", "reason": why}
    result.write_text(json.dumps(failed), encoding="utf-8")
    speed = json.loads((root / "speed.json").read_text(encoding="utf-8"))
    speed["refused"] = [{"variant": "compile", "device": "cpu", "reason": why}]
    (root / "speed.json").write_text(json.dumps(speed), encoding="utf-8")
    assert why not in json.dumps([run.reason for run in read(root).runs])
    page = render(root, tmp_path / "out" / "page")
    assert "No space left on device: &#39;…/x.bin&#39;" in page.read_text(encoding="utf-8")
    cli("drift", root, "--baseline", tmp_path / "out/accepted.json", "--junit", tmp_path / "out/drift.xml")
    cli("export", root, "--format", "json", "--output", tmp_path / "out/table.json")
    (tmp_path / "out/said.txt").write_text("".join(capfd.readouterr()), encoding="utf-8")
    assert [name for name, text in texts(tmp_path / "out") if USER in text] == []


def own_host() -> list[str]:
    """How to start a command on a host of that name; without the right to, the test greps for the real name."""
    asked = ["unshare", "--map-root-user", "--uts", "sh", "-c", f'hostname {HOST} && exec "$@"', "sh"]
    if shutil.which("unshare") and subprocess.run([*asked, "true"], capture_output=True).returncode == 0:
        return asked
    print(f"unshare is not permitted here: the host keeps its name, {platform.node()}", file=sys.stderr)
    return []


@pytest.mark.slow
def test_nothing_that_a_run_leaves_or_publishes_names_home_user_or_host(tmp_path: Path) -> None:
    home = tmp_path / "standing out" / USER
    encoder, glue = tiny.save_encoder(home / "encoder"), tiny.save_glue(home / "glue", "rte")
    suite, results, out = tiny.save_suite(home, encoder, glue), home / "results", tmp_path / "published"
    (home / "tmp").mkdir()
    surroundings = {**os.environ, "HOME": str(home), "USER": USER, "LOGNAME": USER, "TMPDIR": str(home / "tmp")}
    host = own_host()

    def command(*arguments: object) -> subprocess.CompletedProcess[str]:
        whole = [*host, sys.executable, "-m", "benchmarks", *map(str, arguments)]
        return subprocess.run(whole, cwd=ROOT, env=surroundings, capture_output=True, text=True, timeout=300)

    keep = ("--results", results, "--set", "seeds=[1]", "--set", "keep_successors=true", "--workers", 1)
    run = command("run", suite, "--methods", "kd", *keep)
    assert run.returncode == 0, run.stderr
    (results / ".checkpoints").write_text("", encoding="utf-8")  # so that the next run fails, with a path in its reason
    run = command("run", suite, "--methods", "finetune", "--checkpoint-seconds", 0, *keep)
    assert (run.returncode, str(results) in run.stderr) == (FAILED, True), run.stderr  # the terminal names the path
    out.mkdir()
    for name, *rest in (
        ("report", "--output", out / "report"), ("report",), ("bundle", "--weights", "--output", out / "tiny.zip"),
        ("export", "--output", out / "table.csv"),
        ("export", "--format", "json", "--output", out / "table.json"),
        ("export", "--format", "parquet", "--output", out / "table.parquet"),
    ):  # fmt: skip
        done = command(name, results, *rest)
        assert done.returncode == 0, done.stderr
    runs = [path.parent for path in results.rglob("result.json")]
    names = [HOST if host else platform.node(), USER, "standing out", str(tmp_path)]
    found = [*texts(out, results / "report", *runs), ("suite.json", (results / "suite.json").read_text("utf-8"))]
    assert len(runs) == 3
    assert len(found) > 40
    assert [(name, one) for name, text in found for one in names if one in text] == []
    assert "failed (" in (out / "report/report.html").read_text(encoding="utf-8")
