"""Training: Trainer, fit, callbacks and history, many networks at once.

- `trainer.py`, `callbacks.py`, `history.py`, `many.py`: what users call
- `_settings.py`, `_inputs.py`, `_dataset.py`: arguments checked, and as batches
- `_resume.py`, `_position.py`: where a fit begins and stands
- `_fit.py`, `_epochs.py`, `_interrupts.py`, `_progress.py`: the loop, in slices
- `_eager.py`, `_losses.py`, `_measure.py`, `_finite.py`: a step without a program, its definition;
  losses of the user; evaluation; what is no number any more
- `_memory.py`: what training takes of it
"""
