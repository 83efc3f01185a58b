"""SqlExampleGen: examples from the rows of a SQL query."""
