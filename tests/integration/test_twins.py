"""Every suite of MiniLM runs end to end: a few steps with the real weights on real data.

export GLUE_DIR=... EXTRA_DIR=... ENCODER_DIR="$(make -s encoder-minilm | tail -1)"
make test ARGS="-m nightly tests/integration/test_twins.py"
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmarks.suites.file import available
from benchmarks.suites.suite import load_suite
from tests.command import cli

SMALL = ("rte", "mrpc")
# suite: (tasks, runs of one seed: a predecessor per task, and arms x trials x tasks)
TWINS: dict[str, tuple[tuple[str, ...], int]] = {
    "minilm": (SMALL, 2 + 5 * 2),
    "minilm-attribution": (SMALL, 2 + 10 * 2),
    "minilm-attribution-search": (("mrpc",), 1 + 10 * 4),
    "minilm-init": (SMALL, 2 + 6 * 2),
    "minilm-depths": (SMALL, 2 + 4 * 2),
    "minilm-modules": (SMALL, 2 + 3 * 2),
    "minilm-rates": (("mrpc",), 1 + 10),
    "minilm-readings": (SMALL, 2 + 6 * 2),
    "minilm-schedules": (SMALL, 2 + 3 * 3 * 2),
    "minilm-search": (SMALL, 2 + 5 * 4 * 2),
    "minilm-test": (SMALL, 2 + 4 * 2),
    "minilm-transfer": (("sst2", "rte"), 2 + 3 * 2),
    "minilm-ner": (("ner",), 1 + 5),
    "minilm-nli": (("entailment", "relatedness"), 2 + 5 * 2),
    "minilm-pos": (("pos",), 1 + 5),
    "minilm-qa": (("xquad",), 1 + 5),
    "minilm-sts": (("sts",), 1 + 5),
}
FEW_STEPS = (
    "training.max_steps=2",
    "training.batch_size=8",
    "training.evaluate_every=2",
    "predecessor.training={max_steps=2}",
    "predecessor.at_chance=allow",  # two steps teach it nothing
)


def needs_real_inputs() -> None:
    """Fails, not skips, so that a run of this tier without its inputs is never taken for a pass."""
    for name in ("GLUE_DIR", "EXTRA_DIR", "ENCODER_DIR"):
        place = os.environ.get(name)
        if place is None or not Path(place).is_dir():
            pytest.fail(f"{name} is {place!r}: these tests need folders of GLUE, of other data and of MiniLM-L6 there")


def test_every_twin_is_run() -> None:
    assert set(TWINS) == {name for name in available() if name.startswith("minilm")}


@pytest.mark.nightly
@pytest.mark.parametrize("name", TWINS)
def test_a_twin_runs_to_its_report(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    needs_real_inputs()
    tasks, count = TWINS[name]
    settings = [part for setting in FEW_STEPS for part in ("--set", setting)]
    arguments = ("--results", tmp_path, "--seeds", "1", "--tasks", ",".join(tasks), *settings)
    assert cli("run", name, *arguments) == 0, capfd.readouterr().err
    results = [json.loads(path.read_text(encoding="utf-8")) for path in tmp_path.glob("*/*/seed-1-*/result.json")]
    assert len(results) == count
    for result in results:
        assert (result["status"], result["steps"]) == ("done", 2), result
        assert load_suite(name).held_out == 0 or result["held_out"]["held_out_score"] is not None
    assert {path.parent.parent.parent.name for path in tmp_path.glob("*/*/seed-1-*/result.json")} == set(tasks)
    capfd.readouterr()
    assert cli("report", tmp_path, "--output", tmp_path / "report") == 0
    page = Path(capfd.readouterr().out.strip())
    assert load_suite(name).title in page.read_text(encoding="utf-8")
