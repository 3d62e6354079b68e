"""Studies side by side. Start at `compare_studies.py`.

`same_questions.py` decides whether studies can be compared and paired, `paired.py` has the statistics, and
`study_differences.py` lists what else differs.
"""
