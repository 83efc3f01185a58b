"""ImportSchemaGen: publishes a curated schema from a file."""
