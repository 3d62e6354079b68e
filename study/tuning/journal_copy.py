"""Optuna's journal where it can be written line by line, and its copy where the results are."""

import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from study.storage.files import write_whole
from study.storage.location import Location, local_path
from study.storage.object_store import StoreError

KEEP_S = 30.0
"""How far a store's copy may be behind the journal while trials run: the whole file is sent each time."""


class JournalCopy:
    """The journal of a search: on a disk the results' own file, for a store one in `folder`, copied now and then.

    Nothing depends on the copy: the journal is made anew from the ledger whenever a study goes on.
    """

    def __init__(self, journal: Location, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept = journal
        self._clock = clock
        self._kept_s = clock()
        self.file = local_path(journal) or folder / journal.name

    def keep(self, *, now: bool = False) -> None:
        """Copy the journal to the store if that is due, or now; nothing for results on a disk.

        While trials run a store that does not answer is asked again at the next turn; now it must.
        """
        if self.file == self._kept or not (now or self._clock() - self._kept_s >= KEEP_S):
            return
        self._kept_s = self._clock()
        try:
            write_whole(self._kept, partial(shutil.copyfile, self.file))
        except StoreError:
            if now:
                raise
