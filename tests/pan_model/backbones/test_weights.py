"""Weights are loaded whole or refused in one line that names what is wrong; the sha256 is their identity."""

import hashlib
import pickle
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision import models

from pan_model.backbones.architectures import Backbone, build_backbone
from pan_model.backbones.config import BACKBONES, WeightsSource
from pan_model.backbones.weights import download_weights, imagenet_url, load_weights
from pan_model.errors import UserError
from pan_model.fetch import FetchConfig

NAME = "shufflenet_v2_x0_5"
State = dict[str, Tensor]


@pytest.fixture
def backbone() -> Backbone:
    return build_backbone(NAME)


@pytest.fixture(scope="module")
def whole_state() -> State:
    """The state dict of the whole network, classifier and all, with weights of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return dict(models.get_model(NAME, weights=None).state_dict())


def assert_untouched(backbone: Backbone) -> None:
    fresh = build_backbone(backbone.name).network.state_dict()
    assert all(torch.equal(value, fresh[key]) for key, value in backbone.network.state_dict().items())


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize("with_classifier", [True, False])
def test_file_is_loaded(
    tmp_path: Path, backbone: Backbone, whole_state: State, suffix: str, with_classifier: bool
) -> None:
    path = tmp_path / f"w{suffix}"
    kept = {key: value for key, value in whole_state.items() if with_classifier or not key.startswith("fc.")}
    (save_file if suffix == ".safetensors" else torch.save)(kept, path)
    assert load_weights(backbone, str(path)) == sha256(path)
    assert all(torch.equal(value, whole_state[key]) for key, value in backbone.network.state_dict().items())


def test_old_files_without_batch_counts_are_loaded(tmp_path: Path, backbone: Backbone, whole_state: State) -> None:
    torch.save({k: v for k, v in whole_state.items() if "num_batches" not in k}, tmp_path / "w.pth")
    assert load_weights(backbone, str(tmp_path / "w.pth")) == sha256(tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["densenet121", "mnasnet0_5"])
def test_plain_files_of_families_with_peculiar_state_dicts_are_loaded(tmp_path: Path, name: str) -> None:
    backbone = build_backbone(name)
    state = backbone.network.state_dict()
    published = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", key): state[key] for key in state}
    torch.save(published, tmp_path / "w.pth")
    assert load_weights(backbone, str(tmp_path / "w.pth")) == sha256(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("conv1.1.bias"), r"1 key missing \(first conv1\.1\.bias\)\."),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("stage2")], r"\d\d keys missing \(first stage2\.0\."),
        (lambda s: s.update(extra=torch.ones(2)), r"1 key left over \(first extra\)"),
        (lambda s: s.update({"fc.more": torch.ones(2)}), r"1 key left over \(first fc\.more\)"),
        (
            lambda s: s.update({"conv1.1.bias": torch.ones(3)}),
            r"1 key of another shape \(first conv1\.1\.bias\): \(3,\) instead of \(24,\)",
        ),
        (
            lambda s: s.update({f"module.{k}": s.pop(k) for k in list(s)}, extra=torch.ones(2)),
            r"\d+ keys missing \(first conv1\.0\.weight\); \d+ keys left over \(first module\.conv1\.0\.weight\)",
        ),
        (
            lambda s: s.update({"conv1.1.bias": torch.ones(24, dtype=torch.int8)}),
            r"1 key of another type \(first conv1\.1\.bias\): torch\.int8 instead of torch\.float32",
        ),
    ],
)
def test_file_that_does_not_fit(
    tmp_path: Path, backbone: Backbone, whole_state: State, change: Callable[[State], object], message: str
) -> None:
    state = dict(whole_state)
    change(state)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError, match=rf"w\.pth do not fit backbone {NAME}: {message}.*Only the classifier's keys"):
        load_weights(backbone, str(tmp_path / "w.pth"))
    assert_untouched(backbone)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "must hold a state dict, name to tensor, got an empty dict"),
        ([1, 2], "must hold a state dict, name to tensor, got list"),
        (torch.ones(3), "must hold a state dict, name to tensor, got Tensor"),
        ({"state_dict": {}}, "name to tensor, got 'state_dict': an empty dict"),
        ({1: torch.ones(1)}, "name to tensor, got 1: Tensor"),
        (OrderedDict(a=torch.tensor([1.0, float("nan")])), "values must be finite, a holds NaN or infinity"),
        (threading.Barrier, r"holds objects other than tensors \(threading\.Barrier\).*; save one with torch\.save"),
    ],
)
def test_file_that_holds_something_else(tmp_path: Path, backbone: Backbone, content: object, message: str) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match=rf"^weights .*w\.pth: .*{message}[^\n]*$"):
        load_weights(backbone, str(tmp_path / "w.pth"))
    assert_untouched(backbone)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_truncated_file(tmp_path: Path, backbone: Backbone, whole_state: State, suffix: str, share: float) -> None:
    path = tmp_path / f"w{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(whole_state, path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=r"^weights .*: truncated, or not a file of tensors only[^\n]*$"):
        load_weights(backbone, str(path))
    assert_untouched(backbone)


def test_file_of_no_known_kind(tmp_path: Path, backbone: Backbone) -> None:
    for number, content in enumerate([b"garbage", b"\x80\x04garbage", b"PK\x03\x04zip", pickle.dumps(print)]):
        (tmp_path / f"{number}.pth").write_bytes(content)
        with pytest.raises(UserError, match=rf"{number}\.pth: truncated, or not a file of tensors only"):
            load_weights(backbone, str(tmp_path / f"{number}.pth"))


def test_missing_file(tmp_path: Path, backbone: Backbone) -> None:
    with pytest.raises(UserError, match=r"weights imagnet: no such file; give imagenet, random or a state-dict file"):
        load_weights(backbone, "imagnet")
    with pytest.raises(UserError, match=r"cannot be read .*[Dd]irectory"):
        load_weights(backbone, str(tmp_path))


def test_random_weights_repeat_and_leave_the_random_state_alone(backbone: Backbone) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    identity = load_weights(backbone, "random")
    assert torch.equal(torch.get_rng_state(), before)
    with torch.no_grad():
        next(backbone.parameters()).zero_()
    assert load_weights(backbone, "random") == identity
    assert_untouched(backbone)
    assert re.fullmatch(r"[0-9a-f]{64}", identity)
    assert load_weights(build_backbone("squeezenet1_1"), "random") != identity


def test_sources() -> None:
    assert [WeightsSource.of(words) for words in ("imagenet", "random", "./random")] == ["imagenet", "random", "file"]


@pytest.mark.parametrize("name", BACKBONES)
def test_published_weights_have_a_hash_in_their_name(name: str) -> None:
    assert re.fullmatch(r"https://download\.pytorch\.org/models/.+-[0-9a-f]{8,}\.pth", imagenet_url(name))


def test_published_weights_fit_the_usual_image_size() -> None:
    # Its default weights are for images of 518 px, with a table of positions that no 224 px network can take.
    assert imagenet_url("vit_h_14") == models.ViT_H_14_Weights.IMAGENET1K_SWAG_LINEAR_V1.url
    assert imagenet_url("resnet50") == models.ResNet50_Weights.IMAGENET1K_V1.url


class Server:
    """A real server on the loopback: hands out `files` and counts the requests."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut_short = 0
        self.num_requests = 0
        self.url = ""


@contextmanager
def serving() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.num_requests += 1
            content = state.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) - state.cut_short])

        def log_message(self, format: str, *args: object) -> None:
            """Keep the tests' output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as state:
        yield state


@pytest.fixture
def published(server: Server, tmp_path: Path, whole_state: State) -> str:
    """The URL of a weights file whose name holds the start of its hash, as torch names them."""
    torch.save(whole_state, tmp_path / "w.pth")
    content = (tmp_path / "w.pth").read_bytes()
    path = f"/w-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    server.files[path] = content
    return server.url + path


def test_download_once(server: Server, published: str, tmp_path: Path, backbone: Backbone) -> None:
    folder = tmp_path / "hub" / "checkpoints"
    path = download_weights(published, folder)
    assert download_weights(published, folder) == path
    assert server.num_requests == 1
    assert [file.name for file in folder.iterdir()] == [path.name]
    assert load_weights(backbone, str(path)) == sha256(tmp_path / "w.pth")


def test_damaged_download_is_fetched_again(server: Server, published: str, tmp_path: Path) -> None:
    path = download_weights(published, tmp_path / "hub")
    path.write_bytes(path.read_bytes()[:100])
    download_weights(published, tmp_path / "hub")
    assert server.num_requests == 2
    assert sha256(path) == sha256(tmp_path / "w.pth")


def assert_refused(url: str, folder: Path, reason: str) -> None:
    with pytest.raises(
        UserError, match=rf"cannot be downloaded from {re.escape(url)} to .*{reason}[^\n]*--weights FILE\.$"
    ):
        download_weights(url, folder, config=FetchConfig(pause_s=0))
    assert not folder.exists() or not list(folder.iterdir())


def test_absent_file_on_the_server(server: Server, tmp_path: Path) -> None:
    assert_refused(f"{server.url}/none-01234567.pth", tmp_path / "hub", "HTTP Error 404")


def test_hash_mismatch(server: Server, tmp_path: Path) -> None:
    server.files["/w-01234567.pth"] = b"other bytes"
    assert_refused(f"{server.url}/w-01234567.pth", tmp_path / "hub", "invalid hash value")


def test_truncated_download(server: Server, published: str, tmp_path: Path) -> None:
    server.cut_short = 1000
    assert_refused(published, tmp_path / "hub", "the connection was dropped after")


def test_refused_connection(published: str, tmp_path: Path) -> None:
    with serving() as gone:
        url = f"{gone.url}/w-01234567.pth"
    assert_refused(url, tmp_path / "hub", "refused")


def test_folder_that_cannot_be_made(server: Server, published: str, tmp_path: Path) -> None:
    (tmp_path / "hub").write_text("a file")
    with pytest.raises(UserError, match=r"cannot be downloaded .*(File exists|Not a directory)"):
        download_weights(published, tmp_path / "hub")
    assert server.num_requests == 0


def test_imagenet_is_taken_from_the_folder(tmp_path: Path, backbone: Backbone) -> None:
    path = tmp_path / Path(imagenet_url(NAME)).name
    path.write_bytes(b"not what was published")
    # No test may use the network: a proxy that is not there stands in for a machine without one.
    with pytest.MonkeyPatch.context() as patch:
        for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            patch.setenv(name, "http://127.0.0.1:9")
        patch.delenv("no_proxy", raising=False)
        patch.delenv("NO_PROXY", raising=False)
        with pytest.raises(UserError, match=rf"downloaded from https://download\.pytorch\.org/.*{path.name} to "):
            load_weights(backbone, "imagenet", folder=tmp_path)
    assert_untouched(backbone)
