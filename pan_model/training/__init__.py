"""Training a trial: trainer, losses, optimiser, inputs. Start at `trainer.py`."""
