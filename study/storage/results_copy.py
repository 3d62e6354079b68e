"""A copy of a study's results for people: tables, events, journals, exports; all but the trials' ledger."""

from pathlib import Path

from pan_model.errors import UserError
from study.storage.files import copy_all, list_all
from study.storage.location import Location, absolute
from study.storage.paths import StudyPaths


def copy_results(results: StudyPaths, folder: Location) -> int:
    """Copy what people look at into a folder, over what an earlier copy left there; gives the number of files.

    Raises UserError for a store, and for the folder of the results themselves.
    """
    if not isinstance(folder, Path):
        raise UserError(f"--copy must name a folder of this machine, got {folder}.")
    if folder.absolute() == absolute(results.root):
        raise UserError(f"--copy must name another folder than the study's, got {folder}.")
    depth = len(results.root.parts)
    names = {file: file.parts[depth:] for file in list_all(results.root)}
    looked_at = {file: folder.joinpath(*parts) for file, parts in names.items() if parts[1:2] != ("trials",)}
    copy_all(looked_at)
    return len(looked_at)
