"""What the README and the first pages of docs/ say is so: their commands run in this order, and their Python works."""

import os
import re
import shlex
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch

from pan_model.data.demo import DemoConfig, draw_demo

ROOT = Path(__file__).parents[1]
PAGES = ("start", "reading", "final-training", "public-datasets", "choose-space", "own-images")
TEXT = "\n".join(
    path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs" / f"{page}.md" for page in PAGES))
)
SMALL = "--backbone resnet18 --weights random --image-size 32 --max-epochs 2 --grace-epochs 1 --confirm 0"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def commands() -> list[str]:
    """Return each command once, in the order of the pages."""
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines() if line.strip()]
    return list(dict.fromkeys(lines))


def test_the_readme_has_the_commands_that_matter():
    assert [command for command in commands() if command.startswith("make")] == ["make study", "make test"]
    assert len(commands()) == 16


def test_the_readme_is_one_screen():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 45
    assert re.findall(r"```sh\n(make study .*)\n(make test .*)\n```", readme), "the two commands"
    (picture,) = re.findall(r'<img alt="[^"]+" src="([^"]+\.png)"', readme)
    assert (ROOT / picture).stat().st_size < 200_000


SAYS = [
    ("--check", "a study can read it"),
    ("pan_model.data.download", "already exists, nothing was downloaded"),
    ("study/report.py", "results/demo/report.html\n"),
    ("study/status.py", "cub: 3/3 trials"),
    ("study/collate.py", "cub: 3 trials"),
]
"""What the output of a command contains, by a part of the command."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the checkout, where results and data may be left."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("study", "pan_model", "search_spaces", "cluster", "pyproject.toml", "README.md", "Makefile", ".venv"):
        (folder / name).symlink_to(ROOT / name)
    for data in ("data/demo", "DATA/CUB_200_2011"):  # small ones, where the commands look for them
        (folder / data).parent.mkdir()
        draw_demo(folder / data, DemoConfig(num_classes=20, images_per_class=8, image_size=32))
    shutil.copytree(folder / "DATA" / "CUB_200_2011" / "images", folder / "DATA" / "images")
    return folder


def run(command: str, checkout: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    environment["PATH"] = f"{checkout / '.venv' / 'bin'}{os.pathsep}{environment['PATH']}"
    words = shlex.split(command)
    if words[:2] == ["uv", "run"] and shutil.which("uv") is None:
        words = words[2:] if words[2] == "python" else ["python", *words[2:]]
    done = subprocess.run(
        words, cwd=checkout, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def answers(command: str, checkout: Path) -> int:
    """Start a server as a page says, on a free port of loopback, and fetch its first page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program, *words = shlex.split(command.removeprefix("uv run "))
    with subprocess.Popen(
        [checkout / ".venv" / "bin" / program, *words, "--host", "127.0.0.1", "--port", str(port)],
        cwd=checkout,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            for _ in range(120):
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
                        return page.status
                except OSError:
                    time.sleep(0.5)
            return 0
        finally:
            server.terminate()
            server.wait(timeout=20)


@pytest.mark.ray
@pytest.mark.timeout(1800)
def test_every_command_of_the_readme_runs(checkout: Path, monkeypatch: pytest.MonkeyPatch):
    small, said = f"{SMALL} --cache-dir {checkout.parent / 'cache'}", ""
    for command in commands():
        if command == "make test":
            continue  # it is what runs this
        if command == "make study":
            recipe = subprocess.run(["make", "-n", "study"], cwd=ROOT, capture_output=True, text=True, check=True)
            line = next(line for line in recipe.stdout.splitlines() if "study/run.py" in line)
            said = run(f"{line} {small} --num-trials 2", checkout)
            assert "starting it" in said
            assert "is done" in run(f"{line} {small} --num-trials 2", checkout)
        elif command.startswith(("uv run tensorboard", "uv run optuna-dashboard")):
            if "tensorboard" in command:
                assert command in said, "the study's last words name the same command"
            assert answers(command, checkout) == 200, command
        elif "study/run.py" in command:
            trials = "3" if "--resume" in command else "2"
            dataset = "folder" if "--dataset folder" in command else "cub"
            assert f"{dataset}:" in run(f"{command} {small} --num-trials {trials} --executor serial", checkout)
        elif "study/final.py" in command:
            assert command in said.replace(f" --cache-dir {checkout.parent / 'cache'}", "")
            run(f"{command} --cache-dir {checkout.parent / 'cache'} --seeds 1", checkout)
        else:
            assert next(words for part, words in SAYS if part in command) in run(command, checkout)
    monkeypatch.chdir(checkout)
    paths = sorted((checkout / "data" / "demo" / "images").glob("*/*"))[:3]
    names = dict[str, Any]()
    for block in blocks("python"):
        names = dict[str, Any]()
        exec(block.replace(", 64)", ", 32)"), names)  # the size that this small study has
        assert names["pairs"].score.shape == (2,)
    card = (checkout / "results" / "demo" / "demo" / "final" / "model_card.md").read_text(encoding="utf-8")
    monkeypatch.chdir(checkout / "results" / "demo" / "demo")
    on_card: dict[str, Any] = {"given": paths}
    code = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)[0]
    exec(re.sub(r"sorted\(path for path in Path.*suffixes\)", "given", code), on_card)
    assert torch.equal(on_card["pairs"].score, names["pairs"].score)
