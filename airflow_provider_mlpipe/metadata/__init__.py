"""The metadata store: the ML Metadata model in the Postgres schema `mlpipe`."""
