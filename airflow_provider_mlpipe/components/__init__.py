"""One package per component: `operator.py` is what DAGs use, `executor.py` is what does the work."""
