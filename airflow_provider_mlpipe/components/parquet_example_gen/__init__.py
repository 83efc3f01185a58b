"""ParquetExampleGen: examples from Parquet files."""
