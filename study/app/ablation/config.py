"""The configuration of a controlled comparison: the checked flags of study/ablate.py."""

from dataclasses import dataclass, field
from pathlib import Path

from study.config.final_config import FinalConfig
from study.config.flags import Group, argument, flag, read_location, same_flag
from study.config.study_config import StudyConfig
from study.config.value_rules import check_at_least, check_cache_outside
from study.storage.location import Location

DEFAULT_SEEDS = 3


@dataclass(frozen=True, kw_only=True)
class AblationConfig:
    """The flags of study/ablate.py. The default output is ablation/ next to best_config.json."""

    best_config: Location = field(metadata=argument(read_location, "best_config.json", "file made by study/run.py"))
    vary: tuple[str, ...] = flag(
        (),
        str,
        "NAME=VALUE,VALUE",
        "a parameter of the search space and its values, which may lie outside of the searched range; may be given "
        "again for further parameters",
        group=Group.STUDY,
        default_text="none: go on with the rows of the folder",
        many=True,
        repeated=True,
    )
    trial: str | None = flag(
        None,
        str,
        "ID",
        "start from this completed trial of the study, such as the best one that has a lambda",
        group=Group.STUDY,
        default_text="the winner, whose configuration is in best_config.json",
    )
    grid: bool = flag(
        False,
        bool,
        "",
        "all combinations of the values, instead of one parameter at a time",
        group=Group.STUDY,
    )
    seeds: int | None = flag(
        None,
        int,
        "N",
        "number of trainings of each configuration, from the seed of the study and the N-1 that follow",
        group=Group.STUDY,
        default_text=f"as many as the folder has, else {DEFAULT_SEEDS}",
    )
    data_root: Path = same_flag(StudyConfig, "data_root")
    output: Location | None = flag(
        None,
        read_location,
        "DIR",
        "folder of the results",
        group=Group.STUDY,
        default_text="`ablation/` next to best_config.json",
    )
    cache_dir: Path = same_flag(StudyConfig, "cache_dir")
    weights: str | None = same_flag(FinalConfig, "weights")
    attribute_words: Path | None = same_flag(FinalConfig, "attribute_words")
    skip_bad_images: bool = same_flag(StudyConfig, "skip_bad_images")
    dry_run: bool = flag(False, bool, "", "print the trials and their epochs, start nothing", group=Group.STUDY)
    cpus_per_trial: int = flag(1, int, "N", "CPU threads of a training", group=Group.RESOURCES)
    jobs: int | None = same_flag(FinalConfig, "jobs")
    data_workers: int | None = same_flag(StudyConfig, "data_workers")

    def __post_init__(self) -> None:
        check_at_least(1, seeds=self.seeds, jobs=self.jobs, cpus_per_trial=self.cpus_per_trial)
        check_at_least(0, data_workers=self.data_workers)
        check_cache_outside(self.cache_dir, output=self.folder, data_root=self.data_root)

    @property
    def folder(self) -> Location:
        """The folder of the results."""
        return self.best_config.parent / "ablation" if self.output is None else self.output
