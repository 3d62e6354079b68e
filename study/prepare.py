"""Prepare: a dataset's items, read and checked, with their features, and what the study has to remember of both."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pan_model.data.featured import FeaturedItems
from pan_model.data.fingerprint import fingerprint
from pan_model.data.reader_options import ReaderOptions
from pan_model.data.registry import find_dataset
from pan_model.data.splits import Split
from pan_model.errors import BadInput
from pan_model.features import FeaturesConfig, extract_features
from study.config import Regime
from study.screen import Screen, duration, features_line

DEFAULT_OPTIONS = ReaderOptions()


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedDataset:
    """A dataset that trials can start on.

    features is the "features" of best_config.json, options what its reader heeded; left_out counts items and questions
    by reason, unreadable says why by image.
    """

    dataset: str
    featured: FeaturedItems
    fingerprint: str
    features: dict[str, Any]
    left_out: dict[str, int]
    unreadable: dict[str, str]
    from_cache: bool
    options: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def split_sizes(self) -> dict[str, int]:
        """How many items a search looks at, by split."""
        return {str(split): len(self.featured.splits[split]) for split in (Split.TRAIN, Split.VAL)}


def prepare_dataset(
    dataset: str,
    data_root: Path,
    config: FeaturesConfig,
    *,
    cache_dir: Path,
    options: ReaderOptions = DEFAULT_OPTIONS,
    regime: Regime = Regime.FROZEN,
    skip_bad_images: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> PreparedDataset:
    """Read a dataset and its features; BadInput for whatever stands in the way of a study.

    Writes to the cache, and draws the demo where it is missing, but nothing else.
    """
    row = find_dataset(dataset)
    items = row.read(data_root / row.folder, options)
    identity = fingerprint(items)
    features = extract_features(items, identity, config, cache_dir, skip_bad_images=skip_bad_images, progress=progress)
    kept = items.select(features.readable, "unreadable image")
    featured = FeaturedItems.join(kept, features.values, row.split(kept))
    try:
        task = row.task(featured, seed=0)  # refuses now what every trial would fail on
    except BadInput as error:
        raise BadInput(f"{items.image_root.parent}: {error}") from error
    return PreparedDataset(
        dataset=dataset,
        featured=featured,
        fingerprint=identity,
        features={
            "regime": regime.value,
            "backbone": config.backbone,
            "weights": config.weights,
            "weights_sha256": features.weights_sha256,
            "image_size": config.image_size,
            "pooling": config.pooling.value,
        },
        left_out={**kept.left_out, **task.left_out},
        unreadable=features.unreadable,
        from_cache=features.from_cache,
        options=options.to_json(row.options),
    )


def prepare_on_screen(
    dataset: str,
    data_root: Path,
    config: FeaturesConfig,
    screen: Screen,
    *,
    cache_dir: Path,
    options: ReaderOptions = DEFAULT_OPTIONS,
    regime: Regime = Regime.FROZEN,
    skip_bad_images: bool = False,
) -> PreparedDataset:
    """Prepare a dataset, show how it goes, and say what there is and what was left out."""
    started_s = time.monotonic()
    with screen.live() as show:
        prepared = prepare_dataset(
            dataset,
            data_root,
            config,
            cache_dir=cache_dir,
            options=options,
            regime=regime,
            skip_bad_images=skip_bad_images,
            progress=lambda done, total: show(lambda: features_line(dataset, done, total, started_s)),
        )
    sizes = ", ".join(f"{size} {split}" for split, size in prepared.split_sizes.items())
    origin = "from the cache" if prepared.from_cache else f"extracted in {duration(time.monotonic() - started_s)}"
    screen.say(f"{dataset}: {sizes} images, {config.backbone} features {origin}")
    for reason, count in prepared.left_out.items():
        screen.say(f"{dataset}: {count} left out ({reason})")
    for name, why in prepared.unreadable.items():
        screen.say(f"{dataset}: left out {name}: {why}")
    return prepared
