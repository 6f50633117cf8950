"""What a command does not use it does not load: a report's drawing kit takes a second to import."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PREVIEW = "results/minilm-preview"
DRAWING = {"matplotlib", "jinja2"}
COMMAND = "import sys; from benchmarks.cli.main import main; sys.argv[1:] = {arguments}; main()"
LOADED = """
import atexit, sys
atexit.register(lambda: sys.stderr.write("\\nloaded " + " ".join(name for name in sys.modules if "." not in name)))
"""


def loaded(code: str) -> set[str]:
    """The top-level packages that a fresh interpreter has imported when the code has run to its end."""
    done = subprocess.run([sys.executable, "-c", LOADED + code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "\nloaded " in done.stderr, done.stderr
    return set(done.stderr.rpartition("loaded ")[2].split())


def test_the_face_of_reports_is_light():
    heavy = DRAWING | {"numpy", "pandas", "scipy", "pyarrow"}
    assert not loaded("import reports; reports.ReportError, reports.export") & heavy
    assert "matplotlib" in loaded("from reports import render"), "the measure must see what is loaded"


@pytest.mark.parametrize("module", ["claims.verdicts", "statistics.significance", "timing.markdown", "drift.output"])
def test_only_the_page_draws(module):
    templates = {"jinja2"} if module == "timing.markdown" else set()  # speed.md is a template
    assert not loaded(f"import reports.{module}") & (DRAWING - templates)


@pytest.mark.parametrize(
    ("arguments", "unused"),
    [
        (["export", PREVIEW], DRAWING | {"scipy", "torch"}),
        (["drift", PREVIEW, "--baseline", "nowhere.json"], DRAWING | {"torch"}),
    ],
)
def test_commands_that_draw_nothing_load_no_drawing_kit(arguments, unused):
    found = loaded(COMMAND.format(arguments=arguments))
    assert "pandas" in found or "numpy" in found, "the command must have read the results"
    assert not found & unused
