"""How executors read and write data: record files, encodings, splits, engines."""
