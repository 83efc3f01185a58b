"""AvroExampleGen: examples from Avro files."""
