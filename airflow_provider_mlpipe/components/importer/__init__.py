"""Importer: registers an existing folder as an artifact."""
