"""What a study is: its configuration, search space, signature and resume rules.

Start at `study_config.py`: the flags of a study, as `flags.py` declares them, and the plan of each dataset.
`search_space.py` chooses the space, `space_description.py` describes it and computes its digest, `resume.py` compares
signatures, and `study_file.py` reads study.json. May import `terminal` and `storage`; imports neither torch nor ray.
"""
