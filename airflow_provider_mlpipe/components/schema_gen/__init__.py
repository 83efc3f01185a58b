"""SchemaGen and ImportSchemaGen: the schema, inferred or curated."""
