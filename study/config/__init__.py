"""The configuration of a study, its search space, its signature and the rules for resuming it.

Start at `study_config.py`: StudyConfig declares the flags of a study, with `flag()` of `flags.py`.
`dataset_plan.py` has the plan for each dataset, `final_config.py` the flags of a final training, `value_rules.py` the
rules that both share. `search_space.py` chooses the space, `space_description.py` describes it and computes its digest,
`resume.py` compares signatures, and `study_file.py` reads study.json. `identity.py` hashes trials and studies,
`provenance.py` records the versions of code and libraries. May import `terminal` and `storage`; imports neither torch
nor ray.
"""
