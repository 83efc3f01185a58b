"""Trainer: calls the user's `run_fn` and keeps the model that it saves."""
