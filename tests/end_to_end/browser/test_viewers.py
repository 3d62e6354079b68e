"""TensorBoard and Optuna's dashboard open a study's results: λ is a column there, and the states are those of "
"trials."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from study.trials.ledger import Status, read_ledger

pytestmark = pytest.mark.browser

START_S = 120.0
STATES = {Status.COMPLETED: "Complete", Status.STOPPED: "Pruned", Status.FAILED: "Fail"}


@contextmanager
def served(program: str, log: Path, *words: object) -> Generator[str]:
    """Serve a viewer of the environment on a free port of loopback; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name(program), *words, "--host", "127.0.0.1", "--port", port]
    with log.open("wb") as output:
        process = subprocess.Popen([*map(str, command)], stdout=output, stderr=output)
        try:
            _wait_for(port, process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=START_S)


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"does not answer: {log.read_text()}")


def test_tensorboard_has_a_column_of_lambda_and_the_metric(done: Any, open_page: Callable[..., Any], tmp_path: Path):
    with served("tensorboard", tmp_path / "log", "--logdir", done.results.tensorboard, "--load_fast", "false") as url:
        page: Page = open_page(f"{url}/#hparams", width=1600).page
        box = page.get_by_role("checkbox", name="lambda", exact=True)
        box.wait_for(timeout=60_000)
        if box.get_attribute("aria-checked") != "true":
            box.click()
        heads = page.locator("vaadin-grid-cell-content")
        expect(heads.get_by_text("lambda", exact=True)).to_be_visible()
        expect(heads.get_by_text("few_shot_accuracy", exact=False).first).to_be_visible()
        with_lambda = [record for record in read_ledger(done.files.trials) if "lambda" in record.config]
        assert with_lambda
        for record in with_lambda:
            value = f"{record.config['lambda']:.5g}"[:6]
            expect(heads.get_by_text(value).first).to_be_attached()


def test_optunas_dashboard_shows_the_state_of_each_trial(done: Any, open_page: Callable[..., Any], tmp_path: Path):
    with served("optuna-dashboard", tmp_path / "log", done.files.journal) as url:
        page: Page = open_page(f"{url}/dashboard/studies/0/trials", width=1600).page
        records = read_ledger(done.files.trials)
        page.get_by_text(f"{len(records)} Trials").wait_for(timeout=60_000)
        shown = page.locator("body").inner_text()
        for record in records:
            assert f"Trial {record.number}\n{STATES[record.status]}" in shown
