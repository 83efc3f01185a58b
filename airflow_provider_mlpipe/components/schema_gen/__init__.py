"""SchemaGen: the schema, inferred from statistics."""
