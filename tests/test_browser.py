"""A written report in a real browser: every picture there, nothing fetched, no error, no sideways page on a phone."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_results import method, results

from closura.core import Results, Role
from closura.reporting.publish import publish

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
PHONE = 390  # CSS pixels

# The page itself has no script: a copy gets one, and a policy under which every fetch is a violation.
PROBE = """
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<script>
const problems = [];
addEventListener("error", event => problems.push("error: " + (event.message || event.target.tagName)), true);
addEventListener("securitypolicyviolation", event => problems.push("fetched: " + event.blockedURI));
addEventListener("load", () => setTimeout(() => parent.postMessage(JSON.stringify({
  problems,
  images: [...document.images].map(image => image.naturalWidth),
  requests: performance.getEntriesByType("resource").map(entry => entry.name)
    .filter(name => !name.startsWith("data:")),
  width: document.documentElement.scrollWidth,
  window: innerWidth,
}), "*"), 200));
</script>
"""
HARNESS = """<!DOCTYPE html><iframe src="copy.html" style="width: WIDTHpx; height: 900px; border: 0"></iframe>
<pre id="result"></pre><script>
addEventListener("message", event => { document.getElementById("result").textContent = event.data; });
</script>"""


@pytest.fixture(scope="module")
def browser() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    pytest.skip("no chromium, chromium-browser or google-chrome here: pages are not opened")


def look(browser: str, page: Path, folder: Path, width: int) -> dict[str, Any]:
    """Open a copy of a page in a window of a width (a frame: windows have a smallest width) and measure it."""
    folder.mkdir()
    text = page.read_text(encoding="utf-8")
    assert text.count("<head>") == 1
    (folder / "copy.html").write_text(text.replace("<head>", "<head>" + PROBE), encoding="utf-8")
    (folder / "harness.html").write_text(HARNESS.replace("WIDTH", str(width)))
    command = [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=20000", "--dump-dom"]
    done = subprocess.run(
        [*command, (folder / "harness.html").as_uri()], capture_output=True, text=True, timeout=180, check=True
    )
    found = re.search(r'<pre id="result">(.+?)</pre>', done.stdout, re.S)
    assert found, f"the page did not report back: {done.stdout[-500:]} {done.stderr[-500:]}"
    return json.loads(html.unescape(found.group(1)))


ROLES = {
    "CGS": Role.UNCORRECTED,
    "upwind5": Role.BASELINE,
    "FGS": Role.REFERENCE,
    "a closure with a rather long name": Role.CLOSURE,
}


def evaluation() -> Results:
    """Two components, groups, a closure on another base, a method that diverges: all that a report can show."""
    rng, steps, size = np.random.default_rng(0), np.arange(21), 12
    methods = {}
    for number, (name, role) in enumerate(ROLES.items()):
        error = (0.0 if name == "FGS" else 0.02 / (1 + number)) * steps * np.exp(0.2 * rng.standard_normal((6, 1)))
        diverged = np.full(6, -1)
        if name == "upwind5":
            error[0, 15:], diverged[0] = np.nan, 15
        learned = role is Role.CLOSURE
        fields = rng.standard_normal((1, 3, 2, size, size)).astype(np.float32)
        methods[name] = method(
            role, error, conserved=error / 9, diverged_at=diverged, fields=fields, actions=fields if learned else None,
            parameters=900 if learned else None, corrects="upwind5" if learned else "",
        )  # fmt: skip
    return results(
        methods, problem="burgers", time_step=0.03, frames=np.asarray([0, 10, 20]),
        description={"split": "held out", "a_long_word": "/a/very/long/path/" * 12},
        provenance={"command": "closura evaluate burgers --closure " + "runs/long/" * 20},
        threshold=0.1, scale=np.tile(np.exp(-0.1 * steps), (6, 1)), groups=("{2,4}", "{4,6}") * 3,
    )  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    metrics = [{"update": k, "reward": 1.0 / (k + 1), "validation_error": 0.1 / (k + 1)} for k in range(20)]
    training = {"metrics": metrics, "configuration": {"learner": "ppo"}, "environment": {"jax": "0"}}
    folder = tmp_path_factory.mktemp("report")
    return publish(evaluation(), folder, title="A report <&> its parts", runs={"ppo": training}).report


@pytest.mark.parametrize("width", [PHONE, 1200])
def test_the_report_in_a_browser(browser: str, report: Path, tmp_path: Path, width: int) -> None:
    seen = look(browser, report, tmp_path / "look", width)
    assert seen["problems"] == []
    assert seen["requests"] == []
    assert seen["window"] == width
    # All thirteen figures and the animation have been decoded.
    assert len(seen["images"]) == 14
    assert min(seen["images"]) > 300
    # Tables and pictures scroll by themselves; the page does not.
    assert seen["width"] <= width


def test_the_check_itself_sees_what_is_wrong(browser: str, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        '<!DOCTYPE html><html><head></head><body><img src="data:image/png;base64,AAAA"><img src="missing.png">'
        '<div style="width: 700px">wide</div><script>nothing();</script></body></html>'
    )
    seen = look(browser, page, tmp_path / "look", PHONE)
    assert seen["images"] == [0, 0]
    assert seen["width"] >= 700
    assert any("missing.png" in text or text.startswith("fetched") for text in seen["problems"])
    assert any("nothing is not defined" in text for text in seen["problems"])


REPORTS = sorted((Path(__file__).parents[1] / "docs" / "reports").glob("*.html"))


@pytest.mark.parametrize("page", REPORTS, ids=lambda page: page.stem)
def test_the_reports_of_the_documentation(browser: str, page: Path, tmp_path: Path) -> None:
    """Those that the README links to, on a phone."""
    seen = look(browser, page, tmp_path / "phone", PHONE)
    assert (seen["problems"], seen["requests"]) == ([], [])
    assert len(seen["images"]) >= 8
    assert min(seen["images"]) > 0
    assert seen["width"] <= seen["window"]
