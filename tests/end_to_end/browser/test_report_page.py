"""The report in a real browser: it needs nothing else, draws its charts, and can be used by everybody."""

import base64
import io
import json
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page

from study.app.report_page import report_command
from study.trials.ledger import TrialLedger

pytestmark = pytest.mark.browser

SECTIONS = ("answer", "figures", "search", "parameters", "examples", "reproduce")
CHARTS = {"PAN and the baselines", "Best so far", "Learning curves", "Parallel coordinates", "Controlled comparison"}
WIDTHS = (400, 1000, 1600)
SCHEMES = ("light", "dark")


@pytest.fixture(scope="module")
def report(done: Any, tmp_path_factory: pytest.TempPathFactory, run_here: Callable[..., Any]) -> Path:
    """The report of a finished study with explained pairs and a controlled comparison."""
    study = done.copied(tmp_path_factory.mktemp("report") / "results")
    best = json.loads(study.files.best_config.read_text())
    _write(study.files.examples, make_examples(best["trial_id"]))
    _write(study.files.ablation / "ablation.json", make_ablation(best))
    finished = run_here(study.results.root, command=report_command)
    assert (finished.code, finished.out, finished.err) == (0, f"{study.results.report}\n", "")
    return study.results.report


def make_examples(trial_id: str) -> dict[str, Any]:
    """Two explained pairs and a question about an outfit, with images of one colour."""

    def image(name: str) -> dict[str, str]:
        content = io.BytesIO()
        Image.new("RGB", (160, 120), "#4080c0").save(content, "JPEG")
        return {"file": name, "class": f"class <{name}>", "jpeg": base64.b64encode(content.getvalue()).decode()}

    conditions = [
        {"display": "XNOR(has_colour::red)", "similarity": 0.9, "relevance": 0.5, "contribution": 0.45},
        {"display": "unsupervised_1", "similarity": 0.5, "relevance": 0.3, "contribution": 0.15},
    ]
    pair = {
        "title": "the two most similar images",
        "images": [image("a.png"), image("b.png")],
        "same_class": True,
        "score": 0.64,
        "conditions": conditions,
        "rest": {"count": 6, "contribution": 0.04},
    }
    candidates = [
        {"image": image(f"{number}.png"), "score": 0.5, "is_answer": number == 0, "is_chosen": number == 1}
        for number in range(4)
    ]
    question = {"title": "a shoe is missing", "outfit": [image("o.png")], "candidates": candidates}
    return {
        "schema": "pan-study/examples/1",
        "dataset": "demo",
        "trial_id": trial_id,
        "epoch": 1,
        "split": "val",
        "conditions": [],
        "pairs": [{"group": "right", **pair}, {"group": "wrong", **pair}],
        "questions": [{"group": "hardest", **question}],
    }


def make_ablation(best: dict[str, Any]) -> dict[str, Any]:
    rows = [
        {
            "changes": {"lambda": value},
            "config": best["config"],
            "status": "completed",
            "mean": 0.7,
            "ci95": [0.6, 0.8],
            "per_seed": [0.7, 0.7],
            "difference": -0.1,
            "difference_ci95": [-0.2, 0.0],
            "errors": [],
        }
        for value in (1e-5, 0.1)
    ]
    winner = {
        "trial_id": best["trial_id"],
        "config": best["config"],
        "mean": 0.8,
        "ci95": [0.7, 0.9],
        "per_seed": [0.8],
    }
    return {
        "schema": "pan-study/ablation/1",
        "dataset": "demo",
        "metric": {"name": "few_shot_accuracy", "mode": "max", "split": "val"},
        "grid": False,
        "seeds": [0, 1],
        "winner": winner,
        "rows": rows,
    }


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def test_it_opens_from_a_file_without_a_request_or_a_complaint(report: Path, open_page: Callable[..., Any]):
    opened = open_page(report)
    assert opened.requests == [report.as_uri()]
    assert opened.complaints == []
    assert report.stat().st_size < 10e6


def test_charts_are_drawn_as_svg_with_their_traces(report: Path, open_page: Callable[..., Any]):
    page: Page = open_page(report).page
    drawn = {
        figure.locator("h3").inner_text(): figure.locator(".plot").evaluate("plot => plot.data.length")
        for figure in page.locator("figure.chart").all()
    }
    assert drawn.keys() >= CHARTS
    assert all(drawn.values())
    assert drawn["Best so far"] == 1
    for plot in page.locator(".plot").all():
        assert plot.locator("svg.main-svg").count() >= 1
        assert plot.locator(".scatterlayer .trace").count() >= 1
    assert page.locator("canvas").count() == 0


def test_a_learning_curve_has_the_values_of_its_ledger(report: Path, open_page: Callable[..., Any]):
    page: Page = open_page(report).page
    trials = [TrialLedger(folder).read() for folder in (report.parent / "demo" / "trials").iterdir()]
    chart = page.locator("figure.chart").filter(has=page.get_by_role("heading", name="Learning curves"))
    shown = chart.locator(".plot").evaluate("plot => plot.data.flatMap(trace => [...trace.y])")
    ends = {float(f"{trial.history[-1]['few_shot_accuracy']:.5g}") for trial in trials if trial.history}
    assert ends <= {value for value in shown if value is not None}


def test_every_section_is_reached_by_keyboard(report: Path, open_page: Callable[..., Any]):
    page: Page = open_page(report).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.reload()
    page.wait_for_selector("html[data-charts=drawn]")
    for section in ("skip", *SECTIONS):
        page.keyboard.press("Tab")
        if section != "skip":
            assert page.evaluate("document.activeElement.hash") == f"#{section}"
    page.keyboard.press("Enter")
    page.wait_for_function("location.hash == '#reproduce'")
    assert page.locator("#reproduce").evaluate("section => section.getBoundingClientRect().top < innerHeight")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('section').id") == "reproduce"


def test_headings_are_in_order_and_every_chart_has_its_numbers(report: Path, open_page: Callable[..., Any]):
    page: Page = open_page(report).page
    levels = [int(tag[1]) for tag in page.locator("h1, h2, h3, h4").evaluate_all("all => all.map(e => e.tagName)")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.locator("section").evaluate_all("all => all.map(e => e.id)") == [*SECTIONS]
    for plot in page.locator(".plot").all():
        assert len(plot.get_attribute("aria-label") or "") > 40
    for image in page.locator("img").all():
        assert (image.get_attribute("alt") or "").startswith("Image ")
    charts = page.locator("figure.chart")
    assert charts.filter(has=page.locator("table")).count() == charts.count() - 1  # the baselines' table stands below


@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_no_fault(scheme: str, report: Path, open_page: Callable[..., Any]):
    page: Page = open_page(report, color_scheme=scheme).page
    page.locator("details").evaluate_all("all => all.forEach(e => e.open = true)")
    found = Axe().run(page).response["violations"]
    assert [(fault["id"], fault["nodes"][0]["html"]) for fault in found] == []


def test_dark_mode_changes_the_charts_too(report: Path, open_page: Callable[..., Any]):
    colours = {}
    for scheme in SCHEMES:
        page: Page = open_page(report, color_scheme=scheme).page
        colours[scheme] = (
            page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor"),
            page.locator(".plot .xtick text").first.evaluate("e => getComputedStyle(e).fill"),
            page.locator(".plot .points path").first.evaluate("e => getComputedStyle(e).fill"),
        )
    assert all(light != dark for light, dark in zip(colours["light"], colours["dark"], strict=True))


@pytest.mark.parametrize("width", WIDTHS)
def test_no_width_needs_horizontal_scrolling(width: int, report: Path, open_page: Callable[..., Any], tmp_path: Path):
    page: Page = open_page(report, width=width).page
    assert page.evaluate("document.documentElement.scrollWidth") == width
    wide = "all => all.filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll, nav'))"
    assert page.locator("main *:not(.hidden):not(.hidden *)").evaluate_all(f"{wide}.map(e => e.outerHTML)") == []
    folder = Path(os.environ.get("PAN_STUDY_SCREENSHOTS", tmp_path))
    page.screenshot(path=folder / f"report-{width}.png", full_page=True)
    assert (folder / f"report-{width}.png").stat().st_size > 10_000


def test_it_prints_on_white_with_all_charts(report: Path, open_page: Callable[..., Any], tmp_path: Path):
    page: Page = open_page(report, color_scheme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    widths = "() => [...document.querySelectorAll('.plot svg.main-svg')].map(svg => svg.clientWidth)"
    page.evaluate(f"addEventListener('beforeprint', () => {{ window.printed = ({widths})() }})")
    assert page.pdf(path=tmp_path / "report.pdf", format="A4").startswith(b"%PDF")
    assert {*page.evaluate("window.printed")} == {640}
    page.wait_for_function(f"({widths})().every(width => width > 0 && width != 640)")


def test_it_shows_explained_pairs_and_questions(report: Path, open_page: Callable[..., Any]):
    page: Page = open_page(report).page
    examples = page.locator("#examples")
    assert examples.locator("h3").all_inner_texts() == ["Right answers", "Wrong answers", "Hardest cases"]
    assert examples.locator("img").evaluate_all("all => all.every(e => e.complete && e.naturalWidth == 160)")
    assert "p = 0.640, share an outfit" in examples.inner_text()
    assert "class <a.png>" in examples.inner_text()
    assert "0.500, right" in examples.inner_text()
