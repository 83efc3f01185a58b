"""ExampleDiff: pairs the examples of two data sets, and finds the features in which they differ."""
