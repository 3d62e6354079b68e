"""Objects that both executors use: a searcher, a scheduler and a journal for each dataset, built from the ledgers."""

import tempfile
from collections.abc import Callable, Container, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import optuna

from pan_model.errors import MachineFault, UserError
from study.config.study_config import StudyConfig
from study.trials.ledger import read_ledger
from study.trials.more_epochs import count_missing
from study.tuning.dataset_search import DatasetSearch
from study.tuning.journal import JournalCopy, correct_journal
from study.tuning.progress import SearchProgress
from study.tuning.searcher import GivenTrials, LedgerSearch, RoundRobinSearcher
from study.tuning.stopping.fifo import LedgerFIFO
from study.tuning.stopping.per_dataset import DatasetScheduler, PerDatasetScheduler, make_scheduler


@dataclass(frozen=True, kw_only=True)
class RunningSearch:
    """The objects that an executor drives.

    Attributes:
        searcher: Suggests the next trial.
        scheduler: Decides which trials stop.
        journals: The journal of each dataset.
        num_missing: The number of trials that the ledgers lack.
    """

    searcher: RoundRobinSearcher
    scheduler: PerDatasetScheduler
    journals: Sequence[JournalCopy]
    num_missing: int

    def copy_journals(self) -> None:
        """Copy the journals to an object store if that is due."""
        for journal in self.journals:
            journal.copy()


@contextmanager
def open_search(
    searches: Sequence[DatasetSearch],
    study: StudyConfig,
    progress: Mapping[str, SearchProgress],
    *,
    count_slots: Callable[[], int],
    node_is_alive: Callable[[str], bool],
) -> Generator[RunningSearch]:
    """Build the searchers and schedulers of a study, and make the journals agree with the ledgers at the end.

    Args:
        searches: The searches that lack trials.
        study: The study.
        progress: The counts of each dataset, which are updated when a trial ends.
        count_slots: Returns the number of trials that may run now.
        node_is_alive: Returns whether the node with an id is alive; a trial whose node is lost has not failed.

    Yields:
        The objects to drive.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    missing: dict[str, int] = {}
    searchers: dict[str, LedgerSearch | GivenTrials] = {}
    schedulers: dict[str, DatasetScheduler] = {}
    journals: dict[str, JournalCopy] = {}
    with tempfile.TemporaryDirectory(prefix="pan-study-") as folder:
        try:
            for search in searches:
                dataset, finished = search.dataset, progress[search.dataset].trial_finished
                if search.given:
                    missing[dataset] = len(search.given)
                    searchers[dataset] = GivenTrials(search, finished)
                    schedulers[dataset] = LedgerFIFO(search, study, node_is_alive)
                    continue
                records = search.records()
                (Path(folder) / dataset).mkdir()
                journals[dataset] = JournalCopy(search.paths.journal, Path(folder) / dataset)
                missing[dataset] = count_missing(records, search.num_trials)
                searchers[dataset] = LedgerSearch(search, records, study, journals[dataset].file, finished)
                schedulers[dataset] = make_scheduler(search, records, study, node_is_alive)
            yield RunningSearch(
                searcher=RoundRobinSearcher(searchers, missing, count_slots),
                scheduler=PerDatasetScheduler(schedulers),
                journals=list(journals.values()),
                num_missing=sum(missing.values()),
            )
        except MachineFault:  # the journals may be on the same disk; a resumed study writes them anew
            with suppress(UserError, OSError):
                _correct_journals(searches, _of_opened(journals, searchers))
            raise
        except BaseException:
            _correct_journals(searches, _of_opened(journals, searchers))
            raise
        _correct_journals(searches, _of_opened(journals, searchers))


def _of_opened(journals: Mapping[str, JournalCopy], searchers: Container[str]) -> dict[str, JournalCopy]:
    """Return the journals whose searchers were built, so that their files are there."""
    return {name: journal for name, journal in journals.items() if name in searchers}


def _correct_journals(searches: Sequence[DatasetSearch], journals: Mapping[str, JournalCopy]) -> None:
    """Make the journals that were opened agree with the ledgers."""
    for search in searches:
        if search.dataset in journals:
            records = read_ledger(search.paths.trials, best=False)
            correct_journal(journals[search.dataset].file, records, search)
            journals[search.dataset].copy(now=True)
