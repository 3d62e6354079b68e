"""The validation outfits of Polyvore Outfits as published, read once."""

from pathlib import Path

import pytest

from pan_model.data.polyvore.outfit_lists import KnownTokens, ListedOutfit, list_tokens, read_outfits


@pytest.fixture(scope="session")
def real_outfits(real_data: Path) -> tuple[ListedOutfit, ...]:
    return read_outfits(real_data / "polyvore_real" / "nondisjoint" / "valid.json")


@pytest.fixture(scope="session")
def real_tokens(real_outfits: tuple[ListedOutfit, ...]) -> KnownTokens:
    return list_tokens(Path("valid.json"), real_outfits)
