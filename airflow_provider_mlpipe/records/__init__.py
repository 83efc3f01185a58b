"""The data plane that executors share: files of records, encodings, splits, Beam."""
