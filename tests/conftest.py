"""Set-up of all tests: checked shapes, one thread, an isolated Ray, repeatable examples, an object store."""

import logging
import os
import random
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import pytest
import torch
from beartype import BeartypeConf
from beartype.claw import beartype_packages
from hypothesis import settings
from jaxtyping import install_import_hook

# Before our packages are imported, so that every shape and type in a signature is checked from here on. The numeric
# tower is PEP 484's, and pyright's: an int will do where a float is asked for. jaxtyping adds some 50 microseconds to
# every call of a function, beartype hardly any, so packages without shapes have beartype alone.
WITH_SHAPES = ("pan_model", "study.api", "study.app", "study.nodes", "study.trials", "study.tuning")
WITHOUT_SHAPES = (
    "cluster",
    "search_spaces",
    "study.analysis",
    "study.config",
    "study.page",
    "study.reporting",
    "study.storage",
    "study.terminal",
)
install_import_hook(WITH_SHAPES, "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")
beartype_packages(WITHOUT_SHAPES, conf=BeartypeConf(is_pep484_tower=True))

torch.set_num_threads(1)  # as trials do; small tensors on busy cores are many times slower with more

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")

# A Ray that a test starts sees no cluster of this machine and leaves nothing in the home folder. The folder lies
# straight under /tmp because Ray makes Unix sockets in it, whose paths hold at most 107 bytes.
TEMPORARY = Path(tempfile.mkdtemp(prefix="pan-", dir="/tmp"))
for name in (
    "RAY_ADDRESS",
    "PAN_STUDY_OUTPUT",
    "PAN_STUDY_DATA_ROOT",
    "PAN_STUDY_CACHE_DIR",
    "PAN_STUDY_VERSION",
    "PAN_STUDY_WORKERS",
    "PYTHONDONTWRITEBYTECODE",  # compiled modules are kept, else every process of a test compiles torch and Ray first
):
    os.environ.pop(name, None)
sys.dont_write_bytecode = False
os.environ["RAY_TMPDIR"] = str(TEMPORARY)
os.environ["RAY_AUTH_MODE"] = "token"  # else the first Ray of a process decides for those that come after it
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["AWS_NEW_RETRIES_2026"] = "true"  # botocore, once it is imported, waits 0.05 s where it waits 1 s else

SLOW = {
    "cluster/check/test_aws_launch.py",
    "cluster/check/test_check.py",
    "contracts",
    "end_to_end",
    "pan_model/backbones",
    "pan_model/data/test_demo.py",
    "pan_model/tasks/test_outfits.py",
    "pan_model/test_learning.py",
    "pan_model/test_resume.py",
    "pan_model/training",
    "search_spaces/test_spaces.py",
    "study/nodes/test_deployment.py",
    "study/storage/test_object_store.py",
    "study/test_run_script.py",
    "study/trials",
    "study/tuning/sampling/test_sampler_memory.py",
}
"""Files and folders of tests that take seconds of CPU time; `make test-fast` leaves them out."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests as slow by their file or folder."""
    tests = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(tests).as_posix() if item.path.is_relative_to(tests) else ""
        if any(place == slow or place.startswith(f"{slow}/") for slow in SLOW):
            item.add_marker(pytest.mark.slow)


def pytest_unconfigure() -> None:
    shutil.rmtree(TEMPORARY, ignore_errors=True)


@pytest.fixture(scope="session")
def real_data(pytestconfig: pytest.Config) -> Path:
    """The folder of real data sets that lies beside the checkout."""
    folder = pytestconfig.rootpath.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real data sets are not there: no folder {folder}")
    return folder


class StoreServer:
    """An S3 server on loopback that keeps its objects in memory and fails as often as it is told to.

    share is the part of all requests that fail; requests has all that came, as "GET /bucket/key". A down server cuts
    every connection.
    """

    FAULTS = ("error", "slow down", "no answer", "lost answer", "cut answer")

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        self.share = 0.0
        self.down = False
        self.requests: list[str] = []
        self._lock = Lock()
        self._random = random.Random(0)
        self._moto: Any = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @contextmanager
    def failing(self, share: float = 0.0, *, down: bool = False) -> Iterator[None]:
        """Fail for a while, by the same dice each time."""
        self._random.seed(0)
        self.share, self.down = share, down
        try:
            yield
        finally:
            self.share, self.down = 0.0, False

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        with self._lock:
            self.requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
            fault = self._random.choice(self.FAULTS) if self._random.random() < self.share else ""
        if self.down or fault == "no answer":
            self._cut(environ)
        if fault in ("error", "slow down"):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            status, code = {"error": ("500", "InternalError"), "slow down": ("503", "SlowDown")}[fault]
            start_response(f"{status} Fault", [("Content-Type", "application/xml")])
            yield f"<Error><Code>{code}</Code><Message>again, please</Message></Error>".encode()
            return
        answer = b"".join(self._moto(environ, start_response))
        if fault == "lost answer":
            self._cut(environ)
        yield answer[: len(answer) // 2] if fault == "cut answer" else answer
        if fault == "cut answer":
            self._cut(environ)

    def _cut(self, environ: dict[str, Any]) -> None:
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        raise ConnectionError


@pytest.fixture(scope="session")
def store() -> Generator[StoreServer]:
    """A store with an empty bucket `studies`, which the environment of this process and of its children names."""
    from botocore.session import get_session

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = StoreServer()
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("AWS_") and name != "AWS_NEW_RETRIES_2026"]:
            environment.delenv(name)
        for name, value in {
            "AWS_ENDPOINT_URL": server.url,
            "AWS_ACCESS_KEY_ID": "who",
            "AWS_SECRET_ACCESS_KEY": "ever",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }.items():
            environment.setenv(name, value)
        get_session().create_client("s3").create_bucket(Bucket="studies")
        yield server
    server.stop()
