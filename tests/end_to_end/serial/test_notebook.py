"""The Python API from a search to an explanation, and the notebook in docs/ that shows it."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from pan_model.errors import UserError
from study.api import Study
from study.storage.files import exists

NOTEBOOK = Path(__file__).parents[3] / "docs" / "first_study.ipynb"


@pytest.fixture
def folders(tmp_path: Path, data_root: Path, cache_dir: Path) -> dict[str, Path]:
    return {"output": tmp_path / "results", "data_root": data_root, "cache_dir": cache_dir}


def test_a_study_runs_and_its_winner_is_trained_again(folders: dict[str, Path], capsys: pytest.CaptureFixture[str]):
    settings: dict[str, Any] = {"num_trials": 2, "max_epochs": 1, "image_size": 32, "executor": "serial", "confirm": 0}
    study = Study.run(**settings, **folders, fix={"encoder": "siamese"})
    assert study.folder == folders["output"] / "demo"
    assert set(study.trials["config.encoder"]) == {"siamese"}
    assert len(study.history) == 2
    assert "demo: 2 trials, 2 completed" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"demo: this study exists; resume it with --resume, or give another --name"):
        Study.run(**settings, **folders, fix={"encoder": "siamese"})
    final = study.final(seeds=1, baselines="none", jobs=1)  # data and cache are those of the study
    assert final.trial_id == study.best.trial_id
    assert set(final.metrics) > {"few_shot_accuracy", "recall@1"}
    assert exists(final.folder / "model.safetensors")
    assert study.final().metrics == final.metrics
    assert study.refresh().data.datasets["demo"].summary.scores[0].test == final.metrics["few_shot_accuracy"]


@pytest.fixture
def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_kept_without_outputs(notebook: Any):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in cells] == [([], None)] * len(cells)


def test_the_notebook_runs(notebook: Any, tmp_path: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("data_root", "cache_dir"):
        monkeypatch.setenv(f"PAN_STUDY_{name.upper()}", str(folders[name]))
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    assert kinds.count("application/vnd.plotly.v1+json") == 2
    assert kinds.count("text/html") >= 4  # tables
    assert exists(tmp_path / "results" / "notebook" / "demo" / "final" / "metrics.json")
    assert "condition" in notebook.cells[-2].outputs[0].data["text/html"]
