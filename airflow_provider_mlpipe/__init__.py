"""TFX-style ML pipelines as an Apache Airflow provider."""

__version__ = "0.1.0"
