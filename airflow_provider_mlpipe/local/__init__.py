"""An Airflow and a Postgres on this machine, for the demo and the tests."""
