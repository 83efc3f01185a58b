"""Importer: external content becomes an artifact."""
