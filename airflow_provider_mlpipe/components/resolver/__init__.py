"""Resolver: finds an artifact of an earlier run, as an input for this run."""
