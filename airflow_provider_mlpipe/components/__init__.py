"""One package per component: DAGs use `operator.py`, and `executor.py` does the work."""
