"""The shipped files with their placeholders filled in."""

from collections.abc import Callable
from pathlib import Path

import pytest

SHIPPED = Path(__file__).parents[3] / "cluster"

VALUES = {
    "YOUR-BUCKET": "birds",
    "YOUR-SECURITY-GROUP": "sg-0123456789abcdef0",
    "YOUR-IMAGE": "ami-0123456789abcdef0",
    "YOUR-PROJECT": "birds-123",
    "YOUR-FILESTORE-ADDRESS": "10.0.0.2",
    "YOUR-REGISTRY": "ghcr.io/birds",
    "YOUR-HEAD": "10.0.0.1",
    "YOUR-WORKER-1": "10.0.0.2",
    "YOUR-WORKER-2": "10.0.0.3",
    "YOUR-USER": "ubuntu",
    "YOUR-SHARED-FOLDER": "/shared",
}


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key with the permissions that ssh requires."""
    key = tmp_path_factory.mktemp("ssh") / "id_ed25519"
    key.touch(mode=0o600)
    return key


@pytest.fixture(scope="session")
def filled(key: Path) -> Callable[[str], str]:
    """Return a function from the name of a shipped file to its text, filled in."""

    def fill(name: str) -> str:
        text = (SHIPPED / name).read_text(encoding="utf-8").replace("YOUR-KEY", str(key))
        for placeholder, value in VALUES.items():
            text = text.replace(placeholder, value)
        return text

    return fill
