"""What every test stands on: checked shapes, two threads, a Ray of its own, examples that repeat."""

import os
import secrets
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

# Before our packages are imported, so that every shape and type in a signature is checked from here on. The numeric
# tower is PEP 484's, and pyright's: an int will do where a float is asked for.
install_import_hook(
    ["pan_model", "study", "search_spaces", "cluster"],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

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
):
    os.environ.pop(name, None)
os.environ["RAY_TMPDIR"] = str(TEMPORARY)
os.environ["RAY_AUTH_MODE"] = "token"  # else the first Ray of a process decides for those that come after it
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


def pytest_unconfigure() -> None:
    shutil.rmtree(TEMPORARY, ignore_errors=True)


@pytest.fixture(scope="session")
def real_data(pytestconfig: pytest.Config) -> Path:
    """The folder of real data sets that lies beside the checkout."""
    folder = pytestconfig.rootpath.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real data sets are not there: no folder {folder}")
    return folder
