"""The configuration of a final training: the checked flags of study/final.py."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pan_model.errors import UserError
from study.config.choices import BASELINES
from study.config.flags import Group, argument, flag, read_location, same_flag
from study.config.study_config import StudyConfig
from study.config.value_rules import check_at_least, check_cache_outside
from study.storage.location import Location

NONE = "none"
"""The value of --baselines that stands for no baseline."""


@dataclass(frozen=True, kw_only=True)
class FinalConfig:
    """The flags of study/final.py. The default output is final/ next to best_config.json."""

    best_config: Location = field(metadata=argument(read_location, "best_config.json", "file made by study/run.py"))
    seeds: int = flag(5, int, "N", "number of trainings, from the seeds 0 to N-1", group=Group.STUDY)
    baselines: tuple[str, ...] | None = flag(
        None,
        str,
        "NAME",
        f"baselines to compare with, of {', '.join(f'`{name}`' for name in BASELINES)}, if the dataset has them; "
        "`none` for no baseline. `paper_setting` takes most of the time",
        group=Group.STUDY,
        many=True,
        default_text="all",
    )
    data_root: Path = same_flag(StudyConfig, "data_root")
    output: Location | None = flag(
        None,
        read_location,
        "DIR",
        "folder of the results",
        group=Group.STUDY,
        default_text="`final/` next to best_config.json",
    )
    cache_dir: Path = same_flag(StudyConfig, "cache_dir")
    weights: str | None = flag(
        None,
        str,
        "W",
        "the backbone's weights, if the file has moved since the search",
        group=Group.STUDY,
        default_text="those of the search",
    )
    jobs: int | None = flag(
        None,
        int,
        "N",
        "trainings that run at the same time, each in a process of its own; results do not depend on it. Fewer need "
        "less memory",
        group=Group.RESOURCES,
        default_text="one a core, or one a GPU; 1 with `--regime finetune`",
    )
    data_workers: int | None = same_flag(StudyConfig, "data_workers")
    skip_bad_images: bool = same_flag(StudyConfig, "skip_bad_images")
    attribute_words: Path | None = flag(
        None,
        Path,
        "FILE",
        "`polyvore`: the attribute words, if the file has moved since the search",
        group=Group.STUDY,
        default_text="those of the search",
    )

    def __post_init__(self) -> None:
        check_at_least(1, seeds=self.seeds, jobs=self.jobs)
        check_at_least(0, data_workers=self.data_workers)
        check_cache_outside(self.cache_dir, output=self.folder, data_root=self.data_root)
        self._check_baselines()

    @property
    def baseline_names(self) -> tuple[str, ...]:
        """The baselines to compare with, in the order of tables."""
        if self.baselines is None:
            return BASELINES
        return tuple(name for name in BASELINES if name in self._named_baselines)

    def baselines_of(self, dataset: str, available: Sequence[str]) -> tuple[str, ...]:
        """Return the baselines to compare with on a dataset, in the order of tables.

        Args:
            dataset: The name of the dataset.
            available: The baselines that it has.

        Raises:
            UserError: If --baselines names one that it does not have.
        """
        for name in self._named_baselines:
            if name not in (*available, NONE):
                raise UserError(f"baselines: {dataset} has no baseline {name}; choose from {', '.join(available)}.")
        return tuple(name for name in self.baseline_names if name in available)

    @property
    def _named_baselines(self) -> list[str]:
        return [name for word in self.baselines or () for name in word.split(",")]

    @property
    def folder(self) -> Location:
        """The folder of the results."""
        return self.best_config.parent / "final" if self.output is None else self.output

    def _check_baselines(self) -> None:
        """Raise UserError unless the baselines are known and named once, or are none."""
        names = self._named_baselines
        unknown = [name for name in names if name not in (*BASELINES, NONE)]
        if unknown:
            raise UserError(f"baselines must be of {', '.join(BASELINES)}, or {NONE}; got '{unknown[0]}'.")
        if len(set(names)) != len(names) or (NONE in names and len(names) > 1):
            raise UserError(f"baselines must name each baseline once, or {NONE} alone; got {' '.join(names)}.")
