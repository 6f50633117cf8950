"""The page in a real browser: loads without complaint, never scrolls sideways, and draws in both colour schemes.

    python -m pytest -m browser tests/report

Needs Chromium or Chrome; under the marker a machine without one fails rather than skips, because a
check that was asked for and did not run is not a pass.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from reports import render
from tests.report.make_results import KINDS, make_results

pytestmark = pytest.mark.browser
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SWITCHES = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--enable-logging=stderr",
)  # fmt: skip
MEASURE = """<script>
addEventListener("load", () => {
  const root = document.documentElement, found = {};
  document.querySelectorAll("details").forEach(d => d.open = true);
  found.view = innerWidth; found.page = root.scrollWidth;
  found.wide = [...document.querySelectorAll("body *")].filter(
    e => !e.closest(".scroll, .skip") && e.getBoundingClientRect().right > innerWidth + 1).length;
  found.ink = getComputedStyle(document.body).color;
  found.surface = getComputedStyle(document.body).backgroundColor;
  found.text = getComputedStyle(document.querySelector("svg.figure text")).fill;
  parent.postMessage(found, "*");
});</script>"""
# A frame, because a headless window is never narrower than 500 pixels.
FRAME = """<!doctype html><meta name="color-scheme" content="light dark">
<script>addEventListener("message", e => Object.assign(document.documentElement.dataset, e.data));</script>
<iframe src="measured.html" style="border:0;width:{width}px;height:900px"></iframe>"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.fail(f"no browser: none of {', '.join(NAMES)} is on PATH; install Chromium to run these tests")
    return found


@pytest.fixture(
    scope="module",
    params=["full", "partial", "synthetic", "steps", "depths", "search", "sweep", "predictions", "variants"],
)
def page(request, tmp_path_factory) -> Path:
    return render(make_results(tmp_path_factory.mktemp(request.param), **KINDS[request.param]))


def visit(browser: str, page: Path, profile: Path, *extra: str) -> subprocess.CompletedProcess[str]:
    root = ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
    command = [browser, *SWITCHES, *root, f"--user-data-dir={profile}", *extra, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def measured(browser: str, page: Path, folder: Path, width: int, dark: bool) -> dict[str, str]:
    """Sizes and colours of a copy of the page with its policy lifted and a measuring script added."""
    html = page.read_text(encoding="utf-8")
    copy = re.sub(r"<meta http-equiv[^>]+>", lambda _: MEASURE, html)
    (folder / "measured.html").write_text(copy, encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(width=width), encoding="utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    time = "--virtual-time-budget=3000"
    done = visit(browser, frame, folder / "profile", "--window-size=1400,1000", scheme, time, "--dump-dom")
    opening = re.search(r"<html[^>]*>", done.stdout)
    assert opening, done.stderr[-2000:]
    return dict(re.findall(r'data-(\w+)="([^"]*)"', opening[0]))


def test_nothing_is_blocked_or_fails(browser, page, tmp_path):
    shot = tmp_path / "page.png"
    done = visit(browser, page, tmp_path / "profile", "--window-size=1280,900", f"--screenshot={shot}")
    assert shot.stat().st_size > 20_000
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_page_never_scrolls_sideways(browser, page, tmp_path, width):
    found = measured(browser, page, tmp_path, width, dark=False)
    assert int(found["view"]) == width
    assert int(found["page"]) <= width
    assert found["wide"] == "0"


def channels(colour: str) -> list[int]:
    return [int(c) for c in re.findall(r"\d+", colour)[:3]]


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in channels(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_figures_follow_the_colour_scheme(browser, page, tmp_path, dark):
    found = measured(browser, page, tmp_path, 1280, dark)
    surface = luminance(found["surface"])
    assert (surface < 0.1) is dark
    for key in ("ink", "text"):
        light, deep = sorted((surface, luminance(found[key])), reverse=True)
        assert (light + 0.05) / (deep + 0.05) > 4.5, key
