"""Training a trial: trainer, losses, optimiser, inputs. Start at `trainer.py`.

May import every other folder of pan_model. `backbone/` trains a backbone before the trials.
"""
