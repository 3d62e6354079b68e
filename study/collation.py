"""Collation: everything below results/NAME that follows from study.json and the ledger, made anew."""

from pan_model.errors import BadInput
from study.export import export_best_config
from study.ledger import TrialRecord, read_ledger
from study.results import Results
from study.study_file import read_study
from study.summary import write_summary
from study.tables import write_tables


def collate(results: Results) -> dict[str, list[TrialRecord]]:
    """Write trials.csv, history.csv, best_config.json and the summary; gives the trials of each dataset.

    The study may be finished, cut or running. Raises BadInput where there is none.
    """
    if not results.study.exists():
        raise BadInput(f"{results.root}: holds no study.json; give the folder of a study, such as results/demo.")
    study = read_study(results.study)
    ledger: dict[str, list[TrialRecord]] = {}
    for dataset, part in study["datasets"].items():
        files = results.of(dataset)
        ledger[dataset] = read_ledger(files.trials)
        write_tables(files, ledger[dataset], part["objective"]["name"], part["objective"]["mode"])
        export_best_config(files, study, ledger[dataset])
    write_summary(results, study, ledger)
    return ledger
