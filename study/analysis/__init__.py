"""What a study says: numbers for pages, notebooks and comparisons, computed from its files. Start at `study_data.py`.

`study_data.py` reads a study. Imports neither torch nor ray; may import `reporting` and what that may import.
"""
