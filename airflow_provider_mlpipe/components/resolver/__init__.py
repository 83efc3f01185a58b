"""Resolver: an artifact of earlier runs becomes an input of this one."""
