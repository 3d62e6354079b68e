"""What a user can mend: exit code 2, one line on stderr that names it, and nothing written to the output."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pan_model.data.demo import DemoConfig, draw_demo
from pan_model.errors import UserError

Refuse = Callable[..., str]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def refuse(run_here: Callable[..., Any], flags: Callable[..., list[str]], output: Path, data_root: Path) -> Refuse:
    """Run with these words, which must be refused; gives the line, and shows that nothing was written."""

    def run(*words: object, data: Path = data_root) -> str:
        result = run_here(*flags(output, data=data), *words)
        assert (result.code, result.err.count("\n")) == (2, 1), result
        assert "Traceback" not in result.err
        assert not output.exists()
        return result.err.removeprefix("error: ").strip()

    return run


def lines_of(file: Path) -> list[str]:
    return file.read_text().splitlines()


def write_lines(file: Path, lines: list[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "cubs"], "unknown dataset 'cubs'; choose from "),
        (["--dataset", "demo", "demo"], "--dataset must name each dataset once, got demo demo."),
        (["--num-trails", "3"], "unknown flag or stray word '--num-trails'; did you mean --num-trials?"),
        (["stray"], "unknown flag or stray word 'stray'; --help shows every flag."),
        (["--num-trials", "0"], "--num-trials must be at least 1 .., got 0."),
        (["--num-trials", "many"], "argument --num-trials: invalid int value: 'many'; --help shows every flag."),
        (["--max-epochs", "0"], "--max-epochs must be at least 1 .., got 0."),
        (["--max-epochs=3", "--grace-epochs=4"], "--grace-epochs must be at most --max-epochs, 3, got 4."),
        (["--grace-epochs", "0"], "--grace-epochs must be at least 1 .., got 0."),
        (["--reduction-factor", "1"], "--reduction-factor must be above 1, got 1.0."),
        (["--max-failures", "-1"], "--max-failures must be at least 0 .., got -1."),
        (["--seed", "-1"], "--seed must be at least 0 .., got -1."),
        (["--cpus-per-trial", "0"], "--cpus-per-trial must be at least 1 .., got 0."),
        (["--gpus-per-trial", "nan"], "--gpus-per-trial must be at least 0 .., got nan."),
        (["--max-concurrent", "0"], "--max-concurrent must be at least 1 .., got 0."),
        (["--time-budget", "soon"], "expected a duration such as 90s, 30m or 2h, got 'soon'"),
        (["--scheduler", "pbt"], "choose from asha, paired, top-k, none, got 'pbt'"),
        (["--sampler", "grid"], "choose from tpe, tpe-grouped, prior, random, got 'grid'"),
        (["--regime", "thawed"], "choose from frozen"),
        (["--backbone", "resnet19"], "unknown backbone 'resnet19'; choose a torchvision classification model such as"),
        (["--image-size", "0"], "--image-size must be at least 1 px, got 0."),
        (["--weights", ""], "--weights must be imagenet, random or a state-dict file, got ''."),
        (["--name", "a/b"], "--name must be a plain folder name, got 'a/b'."),
        (["--name", ""], "--name must be a plain folder name, got ''."),
        (["--config", "nowhere.toml"], "nowhere.toml: cannot be read (No such file or directory)."),
    ],
)
def test_flags_are_refused(refuse: Refuse, words: list[str], message: str) -> None:
    line = refuse(*words)
    assert all(part in line for part in message.split(" .."))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num_trails = 3", "unknown key 'num_trails'; did you mean 'num-trials'?"),
        ("[search]\nnum_trials = 3", "unknown key 'search'"),
        ("num_trials =", "is not TOML"),
        ("resume = 1", "resume must be true or false, got 1."),
        ("num_trials = [3]", "num_trials must be a single value of its flag's kind, got [3]."),
        ("num_trials = 0", "--num-trials must be at least 1 .., got 0."),
    ],
)
def test_config_files_are_refused(refuse: Refuse, tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "study.toml"
    file.write_text(text)
    line = refuse("--config", file)
    assert all(part in line for part in message.split(" .."))
    assert message.startswith("--num-trials must be at least") or str(file) in line


def test_cache_inside_the_output_or_the_data_is_refused(refuse: Refuse, output: Path, data_root: Path) -> None:
    inside = output / "cache"
    assert refuse("--cache-dir", inside) == f"--cache-dir must lie outside --output, {output}, got {inside}."
    inside = data_root / "demo"
    assert refuse("--cache-dir", inside) == f"--cache-dir must lie outside --data-root, {data_root}, got {inside}."


def test_cache_that_cannot_be_written_is_refused_before_anything_is_trained(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "paper_setting").touch()
    line = refuse("--cache-dir", tmp_path / "cache", "--encoders", "proxynca")  # without the trial of the setting
    assert line.startswith(f"the baseline paper_setting cannot be written to {tmp_path}/cache/paper_setting: ")
    assert line.endswith("; give another --cache-dir.")


def test_baselines_are_trained_with_deterministic_arithmetic_which_ends_with_the_command(
    refuse: Refuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_baselines(*_: object, **__: object) -> None:
        raise UserError(f"deterministic: {torch.are_deterministic_algorithms_enabled()}.")

    monkeypatch.setattr("study.trials.shared_baselines.quick_on_val", refuse_baselines)
    assert refuse("--cache-dir", tmp_path / "cache", "--executor=serial") == "deterministic: True."
    assert not torch.are_deterministic_algorithms_enabled()


def test_output_that_is_in_the_way_is_refused_and_left_alone(
    run_here: Callable[..., Any], flags: Callable[..., list[str]], output: Path
) -> None:
    (output / "demo").mkdir(parents=True)
    (output / "demo" / "thesis.tex").write_text("years of work")
    result = run_here(*flags(output), "--resume")
    assert result.code == 2
    assert result.err.startswith(f"error: {output / 'demo'}: exists and is not a study; ")
    assert [path.name for path in output.rglob("*")] == ["demo", "thesis.tex"]


def test_study_json_that_is_none_is_refused(
    run_here: Callable[..., Any], flags: Callable[..., list[str]], output: Path
) -> None:
    (output / "demo").mkdir(parents=True)
    (output / "demo" / "study.json").write_text('{"schema": "pan-study/study/1"}')
    result = run_here(*flags(output), "--resume")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert str(output / "demo" / "study.json") in result.err


def test_missing_data_are_refused_with_their_place(refuse: Refuse, tmp_path: Path) -> None:
    folder = tmp_path / "nowhere" / "CUB_200_2011"
    assert refuse("--dataset", "cub", data=tmp_path / "nowhere") == (
        f"{folder}: no such folder; --data-root must hold CUB_200_2011/ with images.txt. "
        f"{folder.parent} does not exist: give the folder that holds CUB_200_2011/ as --data-root."
    )
    assert not folder.parent.exists()


@pytest.mark.parametrize(
    "name",
    ["images.txt", "image_class_labels.txt", "attributes/image_attribute_labels.txt", "attributes/attributes.txt"],
)
def test_missing_list_is_refused(refuse: Refuse, new_data: Callable[[], Path], name: str) -> None:
    data = new_data()
    (data / "demo" / name).unlink()
    assert refuse(data=data).startswith(f"{data / 'demo' / name}: no such file")


@pytest.mark.parametrize(
    ("name", "line", "text"),
    [
        ("images.txt", 17, "seventeen 001.x/y.png"),
        ("images.txt", 3, "3"),
        ("images.txt", 4, "4 ../../../etc/passwd"),
        ("images.txt", 5, "5 /etc/passwd"),
        ("images.txt", 6, "6 no_folder.png"),
        ("image_class_labels.txt", 2, "2 first"),
        ("image_class_labels.txt", 2, "2 9"),
        ("image_class_labels.txt", 8, "1 1"),
        ("attributes/image_attribute_labels.txt", 9, "1 2 yes 4 1.0"),
        ("attributes/image_attribute_labels.txt", 11, "1 2"),
        ("attributes/image_attribute_labels.txt", 12, "1 99 1 4 1.0"),
        ("attributes/image_attribute_labels.txt", 13, "1 3 1 5 1.0"),
        ("attributes/image_attribute_labels.txt", 14, "1 3 2 4 1.0"),
        ("attributes/attributes.txt", 1, "one"),
    ],
)
def test_broken_row_is_refused_by_file_and_line(
    refuse: Refuse, new_data: Callable[[], Path], name: str, line: int, text: str
) -> None:
    data = new_data()
    file = data / "demo" / name
    lines = lines_of(file)
    lines[line - 1] = text
    write_lines(file, lines)
    said = refuse(data=data)
    assert said.startswith(f"{file} line {line}: expected ")


def test_missing_image_is_refused_by_name(refuse: Refuse, new_data: Callable[[], Path]) -> None:
    data = new_data()
    image = min((data / "demo" / "images").rglob("*.png"))
    image.unlink()
    assert refuse(data=data) == f"{image}: no such image; 1 of the 288 files of images.txt are missing."


@pytest.mark.parametrize("which", [0, 1])
def test_image_that_cannot_be_read_is_refused_by_name(
    refuse: Refuse, new_data: Callable[[], Path], spoil: Callable[[Path], tuple[Path, Path]], which: int
) -> None:
    data = new_data()
    images = spoil(data)
    whole = data / "demo" / "images"
    images[1 - which].write_bytes(next(image for image in whole.rglob("*.png") if image not in images).read_bytes())
    line = refuse(data=data)
    assert line.startswith(
        f"{whole}: 1 of 288 images cannot be read, the first is {images[which]}: not a readable image"
    )
    assert line.endswith("Repair them, or leave them out with --skip-bad-images.")


def test_too_few_classes_are_refused(refuse: Refuse, tmp_path: Path) -> None:
    draw_demo(tmp_path / "demo", DemoConfig(num_classes=16, images_per_class=8, image_size=16))
    line = refuse(data=tmp_path)
    assert "5" in line
    assert "split" in line
    assert "class" in line


def test_too_few_images_of_a_class_are_refused(refuse: Refuse, tmp_path: Path) -> None:
    draw_demo(tmp_path / "demo", DemoConfig(num_classes=20, images_per_class=5, image_size=16))
    line = refuse(data=tmp_path)
    assert "image" in line
    assert "5" in line


def test_missing_weights_file_is_refused_by_name(refuse: Refuse, tmp_path: Path) -> None:
    assert f"weights {tmp_path / 'birds.pth'}: " in refuse("--weights", tmp_path / "birds.pth")


@pytest.mark.parametrize("content", [b"", b"no tensors at all"])
def test_weights_file_that_is_none_is_refused_by_name(refuse: Refuse, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "birds.pth"
    file.write_bytes(content)
    assert refuse("--weights", file).startswith(f"weights {file}: ")


def test_weights_of_another_network_are_refused(refuse: Refuse, tmp_path: Path) -> None:
    file = tmp_path / "birds.pth"
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7), "dreams": torch.zeros(1)}, file)
    line = refuse("--weights", file)
    assert line.startswith(f"weights {file} do not fit backbone resnet18: ")
    assert "1 key left over (first dreams)" in line


def test_imagenet_weights_that_cannot_be_had_are_refused_with_a_way_out(
    refuse: Refuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody listens
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    line = refuse("--weights", "imagenet")
    assert line.startswith(
        "weights imagenet cannot be downloaded from https://download.pytorch.org/models/resnet18-f37072fd.pth to "
    )
    assert str(tmp_path / "torch") in line
    assert line.endswith("give it with --weights FILE.")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:9", "--ray-address: no Ray cluster answers at '127.0.0.1:9'"),
        ("no-such-host.invalid:6379", "--ray-address: no Ray cluster answers at 'no-such-host.invalid:6379'"),
        ("ray://127.0.0.1:9", "--ray-address must be HOST:PORT of a head node, auto or local"),
    ],  # auto would find the Ray of a test that runs at the same time
)
def test_cluster_that_does_not_answer_is_refused(refuse: Refuse, address: str, message: str) -> None:
    assert refuse("--ray-address", address).startswith(message)
