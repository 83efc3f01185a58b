"""CsvExampleGen: examples from CSV files."""
