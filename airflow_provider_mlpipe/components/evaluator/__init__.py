"""Evaluator: TFMA metrics by slice, and the verdict whether a model is good enough."""
