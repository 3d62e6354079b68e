"""Which trials stop early: the schedulers that Tune and the serial executor call, and the rules that decide.

Start reading in per_dataset.py. A rule (rule.py) decides on numbers and scores alone; asha.py is Tune's own ASHA. Every
scheduler writes its stops and failures to the ledger, and is rebuilt from it. May import what study/tuning may import.
"""
