"""ImportExampleGen: examples from TFRecord files."""
