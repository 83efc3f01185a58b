"""ImportSchemaGen: a curated schema."""
