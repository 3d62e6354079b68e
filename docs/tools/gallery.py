"""Make the pictures of the report in docs/gallery/: `make gallery`, or `python docs/tools/gallery.py [results/NAME]`.

Without a study, a study of the demo is run for it, in a few minutes, with its final training. Chromium takes the
pictures, 1000 pixels wide; they are reduced to few colours, so that the repository stays small.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "gallery"

WIDTH = 1000
NUM_COLOURS = 128

TOP = "report"
"""The picture of the README: the answer, and the metric against λ."""

CHARTS = {
    "methods": "PAN and the baselines",
    "lambda": "Metric against λ, by gate",
    "gates": "Gates f_a",
    "conditions": "Number of conditions",
    "best-so-far": "Best so far",
    "learning-curves": "Learning curves",
    "importance": "Importance",
    "parallel-coordinates": "Parallel coordinates",
}
"""The charts of the report that have a picture, by the beginning of their headings."""

STUDY = ("--num-trials", "48", "--name", "gallery", "--executor", "serial")
SEEDS = ("--seeds", "3")


def run_demo(folder: Path) -> Path:
    """Run a study of the demo and its final training in a folder, and return the folder of its results."""
    data = ("--data-root", str(folder / "data"), "--cache-dir", str(folder / "cache"))
    _run("study/run.py", *STUDY, *data, "--output", str(folder / "results"))
    results = folder / "results" / "gallery"
    _run("study/final.py", str(results / "demo" / "best_config.json"), *SEEDS, *data)
    return results


def take_pictures(results: Path) -> None:
    """Write the report of a study, and a picture of each of its parts."""
    _run("study/report.py", str(results))
    browser_path = shutil.which("chromium") or sys.exit("chromium is missing: install Debian's package")
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900})
        page.goto((results / "report.html").resolve().as_uri())
        page.wait_for_selector("html[data-charts=drawn]")
        top = _region(page, "body", "#answer .facts")
        examples = _region(page, "#examples", "#examples .card")
        charts = page.query_selector_all("figure.chart:has(h3, h4)")
        figures = {chart.query_selector("h3, h4").inner_text(): chart for chart in charts}
        pictures = {name: _picture(_figure(figures, heading)) for name, heading in CHARTS.items()}
        browser.close()
    pictures |= {"examples": examples, TOP: _stack([top, pictures["lambda"]])}
    for name, picture in pictures.items():
        picture.quantize(NUM_COLOURS).save(FOLDER / f"{name}.png", optimize=True)
        print(f"docs/gallery/{name}.png: {(FOLDER / f'{name}.png').stat().st_size // 1024} KB")


def _figure(figures: dict[str, Any], heading: str) -> Any:
    found = [figure for text, figure in figures.items() if text.startswith(heading)]
    return found[0] if found else sys.exit(f"the report has no chart '{heading}', but {', '.join(figures)}")


def _region(page: Any, first: str, last: str) -> Image.Image:
    """Return a picture of the page from the top of an element to the end of another."""
    start, end = (page.query_selector(selector).bounding_box() for selector in (first, last))
    height = end["y"] + end["height"] + 12 - start["y"]
    return _open(page.screenshot(full_page=True, clip={"x": 0, "y": start["y"], "width": WIDTH, "height": height}))


def _picture(element: Any) -> Image.Image:
    return _open(element.screenshot())


def _open(png: bytes) -> Image.Image:
    return Image.open(BytesIO(png)).convert("RGB")


def _stack(pictures: Sequence[Image.Image]) -> Image.Image:
    whole = Image.new("RGB", (WIDTH, sum(picture.height for picture in pictures)), "white")
    y = 0
    for picture in pictures:
        whole.paste(picture, ((WIDTH - picture.width) // 2, y))
        y += picture.height
    return whole


def _run(script: str, *words: str) -> None:
    subprocess.run([sys.executable, script, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        take_pictures(Path(sys.argv[1]))
    else:
        with TemporaryDirectory() as temporary:
            take_pictures(run_demo(Path(temporary)))
