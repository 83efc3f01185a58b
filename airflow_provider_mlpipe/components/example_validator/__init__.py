"""ExampleValidator: where the data departs from its schema."""
