"""ExampleValidator: finds anomalies, where the data deviates from its schema."""
