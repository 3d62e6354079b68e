"""What a study may try: one define-by-run function and one list of first trials for each dataset. No torch, no ray."""

from search_spaces import cub, demo, inshop, polyvore
from search_spaces.pan import SearchSpace

SPACES: dict[str, SearchSpace] = {
    "demo": demo.SPACE,
    "cub": cub.SPACE,
    "inshop": inshop.SPACE,
    "polyvore": polyvore.SPACE,
}
"""A new dataset is one module and one row here."""
