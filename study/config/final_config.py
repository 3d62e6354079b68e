"""The configuration of a final training: the checked flags of study/final.py."""

from dataclasses import dataclass, field
from pathlib import Path

from study.config.flags import Group, argument, flag, read_location, same_flag
from study.config.study_config import StudyConfig
from study.config.value_rules import check_at_least, check_cache_outside
from study.storage.location import Location


@dataclass(frozen=True, kw_only=True)
class FinalConfig:
    """The flags of study/final.py. The default output is final/ next to best_config.json."""

    best_config: Location = field(metadata=argument(read_location, "best_config.json", "file made by study/run.py"))
    seeds: int = flag(5, int, "N", "number of trainings, from the seeds 0 to N-1", group=Group.STUDY)
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
        check_at_least(1, seeds=self.seeds)
        check_at_least(0, data_workers=self.data_workers)
        check_cache_outside(self.cache_dir, output=self.folder, data_root=self.data_root)

    @property
    def folder(self) -> Location:
        """The folder of the results."""
        return self.best_config.parent / "final" if self.output is None else self.output
