"""`airflow mlpipe`."""
