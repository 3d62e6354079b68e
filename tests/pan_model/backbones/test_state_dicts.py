"""The weights inside checkpoints: what wrappers add to their keys is stripped if only one choice fits, and said."""

import argparse
import gzip
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from pan_model.backbones.architectures import Backbone, build_backbone
from pan_model.backbones.weights import load_weights
from pan_model.errors import UserError

NAME = "shufflenet_v2_x0_5"
State = dict[str, Tensor]


def draw_state(seed: int) -> State:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return dict(models.get_model(NAME, weights=None).state_dict())


STATE, OTHER = draw_state(7), draw_state(8)
BARE = {key: value for key, value in STATE.items() if not key.startswith("fc.")}


@pytest.fixture
def backbone() -> Backbone:
    return build_backbone(NAME)


def add(prefix: str, state: State = STATE) -> State:
    return {prefix + key: value for key, value in state.items()}


def holds(backbone: Backbone, state: State) -> bool:
    return all(torch.equal(value, state[key]) for key, value in backbone.network.state_dict().items())


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (STATE, ""),
        (add("module."), "prefix module. removed"),
        (add("_orig_mod."), "_orig_mod. removed"),
        (add("module._orig_mod."), "prefix module. removed, _orig_mod. removed"),
        (add("_orig_mod.module."), "prefix module. removed, _orig_mod. removed"),
        ({re.sub(r"^stage2\.", "stage2._orig_mod.", key): STATE[key] for key in STATE}, "_orig_mod. removed"),
        *[({name: STATE, "epoch": 3}, name) for name in ("state_dict", "model_state_dict", "model", "net", "weights")],
        (
            {"model": {"state_dict": add("module.")}, "optimizer": {"state": {}}},
            "model/state_dict, prefix module. removed",
        ),
        *[
            ({"state_dict": add(prefix, BARE), "hyper_parameters": {"lr": 0.1}}, f"state_dict, prefix {prefix} removed")
            for prefix in (
                "model.",
                "backbone.",
                "encoder.",
                "net.",
                "module.model.backbone.",
                "model._forward_module.",
            )
        ],
        (
            {"state_dict": {**add("backbone.", BARE), "head.0.weight": torch.ones(2)}},
            "state_dict, prefix backbone. removed, 1 other tensor not used (first head.0.weight)",
        ),
        (
            {"state_dict": {**add("model.", BARE), "model.fc.0.weight": torch.ones(2)}},
            "state_dict, prefix model. removed",
        ),
        (
            {
                "state_dict": {
                    **add("module.encoder_k.", OTHER),
                    **add("module.encoder_q.", BARE),
                    "module.encoder_q.fc.2.weight": torch.ones(2),
                    "module.queue": torch.ones(2),
                },
                "arch": "r",
            },
            f"state_dict, prefix module.encoder_q. removed, {len(OTHER) + 1} other tensors not used "
            "(first module.encoder_k.conv1.0.weight)",
        ),
        (
            {"state_dict": {**add("module.base_encoder."), **add("module.momentum_encoder.", OTHER)}},
            f"state_dict, prefix module.base_encoder. removed, {len(OTHER)} other tensors not used "
            "(first module.momentum_encoder.conv1.0.weight)",
        ),
        (
            {"student": add("module.backbone.", OTHER), "teacher": add("backbone."), "args": argparse.Namespace(lr=1)},
            "teacher, prefix backbone. removed",
        ),
        ({"model": STATE, "ema": STATE}, "model"),
        ({"model": STATE, "best": np.float64(0.5)}, "model"),
    ],
    ids=lambda value: value.replace(" ", "-")[:50] if isinstance(value, str) else "",
)
def test_unambiguous_wrappers_are_stripped(tmp_path: Path, backbone: Backbone, content: Any, part: str):
    torch.save(content, tmp_path / "w.pth")
    load_weights(backbone, str(tmp_path / "w.pth"))
    assert holds(backbone, STATE)
    assert backbone.weights_part == part


def test_a_plain_file_afterwards_is_loaded_whole(tmp_path: Path, backbone: Backbone):
    torch.save({"model": STATE}, tmp_path / "w.pth")
    load_weights(backbone, str(tmp_path / "w.pth"))
    load_weights(backbone, "random")
    assert backbone.weights_part == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": STATE, "model_ema": OTHER}, r"model and model_ema fit the backbone and differ; save one with torch"),
        ({"state_dict": add("a.") | add("b.", OTHER)}, r"state_dict/a and state_dict/b fit the backbone and differ"),
        ({"state": {}, "param_groups": []}, "holds the state of an optimizer, not weights of a model; save one with"),
        (
            {"epoch": 3, "optimizer": {"state": {0: {"m": torch.ones(1)}}}},
            r"is a checkpoint with the state of an optimizer, but without weights \(it holds epoch, optimizer\)",
        ),
        (
            {"state_dict": {key: value for key, value in add("model.").items() if "stage2" not in key}},
            r"\(state_dict, prefix model\. removed\) do not fit backbone .*: \d\d keys missing \(first stage2\.0\.",
        ),
        (
            {"model": dict(models.resnet18().state_dict())},
            r"\(model\) do not fit backbone .*: \d+ keys missing \(first conv1.0.weight\); \d+ keys left over \(first",
        ),
        ({**STATE, "module.extra": torch.ones(1)}, r"1 key left over \(first module.extra\)"),
        (nn.Linear(2, 2), r"is a whole pickled model \(torch.nn.modules.linear.Linear\).*; save one with torch.save"),
    ],
)
def test_what_is_ambiguous_or_does_not_fit_is_refused(
    tmp_path: Path, backbone: Backbone, content: object, message: str
):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match=rf"^weights [^\n]*w\.pth[^\n]*{message}[^\n]*\.$"):
        load_weights(backbone, str(tmp_path / "w.pth"))
    assert not holds(backbone, STATE)


def test_a_whole_model_in_the_format_before_torch_1_6(tmp_path: Path, backbone: Backbone):
    torch.save(nn.Linear(2, 2), tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match=r"is a whole pickled model \(torch\.nn\.modules\.linear\.Linear\)"):
        load_weights(backbone, str(tmp_path / "w.pth"))


def test_the_suffix_does_not_matter(tmp_path: Path, backbone: Backbone):
    save_file(STATE, tmp_path / "w.pth")
    torch.save(STATE, tmp_path / "w.safetensors")
    torch.save(STATE, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    for name in ("w.pth", "w.safetensors", "old.bin"):
        load_weights(backbone, "random")
        load_weights(backbone, str(tmp_path / name))
        assert holds(backbone, STATE)


def archive(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("w.pth"))
    else:
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr(kind, b"content")
    return buffer.getvalue()


def script() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), buffer)
    return buffer.getvalue()


def arrays(save: Callable[..., None]) -> bytes:
    buffer = io.BytesIO()
    save(buffer, np.ones(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "is a Git LFS pointer.*git lfs pull"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "is an HTML or XML page.*download the file again"),
        (b"\n  <html lang='en'>", "is an HTML or XML page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is an HTML or XML page"),
        (json.dumps({"error": "Repository not found"}).encode(), "is a text file"),
        (archive("weights/w.pth"), "is a zip archive that torch.save has not written; unpack it"),
        (archive("model.weights.h5"), "is a Keras model"),
        (archive("tar"), "is a tar archive; unpack it"),
        (gzip.compress(b"content", mtime=0), "is a gzip archive; unpack it"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "is an HDF5 file, as Keras and TensorFlow write"),
        (b"\x08\x07\x12\x07pytorch\x1a\x052.9.0" + bytes(100), "is an ONNX model"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(100), "is a TensorFlow Lite model"),
        (arrays(np.save), "is a NumPy array"),
        (arrays(np.savez), "is a NumPy archive"),
    ],
)
def test_files_of_other_kinds_are_named(tmp_path: Path, backbone: Backbone, content: bytes, kind: str):
    for suffix in ("pth", "safetensors"):
        path = tmp_path / f"w.{suffix}"
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"^weights [^\n]*w\.{suffix}: {kind}[^\n]*\.$"):
            load_weights(backbone, str(path))


def test_a_checkpoint_may_contain_the_words_of_other_formats(tmp_path: Path, backbone: Backbone):
    torch.save({"state_dict": STATE, "dirpath": "saved_models/tensorflow"}, tmp_path / "last.ckpt")
    load_weights(backbone, str(tmp_path / "last.ckpt"))
    assert backbone.weights_part == "state_dict"
    (tmp_path / "model.ckpt").write_bytes(b"\0\0tensorflow" + bytes(100))
    with pytest.raises(UserError, match=r"model\.ckpt: is a TensorFlow model, not PyTorch weights"):
        load_weights(backbone, str(tmp_path / "model.ckpt"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_torchscript_model_is_named(tmp_path: Path, backbone: Backbone):
    (tmp_path / "w.pt").write_bytes(script())
    with pytest.raises(UserError, match=r"w\.pt: is a TorchScript model; save one with torch\.save"):
        load_weights(backbone, str(tmp_path / "w.pt"))


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit",)


def test_no_code_of_a_file_is_run(tmp_path: Path, backbone: Backbone):
    torch.save({"model": STATE, "extra": Malicious()}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"holds objects other than tensors \(builtins\.exec\)"):
        load_weights(backbone, str(tmp_path / "w.pth"))
