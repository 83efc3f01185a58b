"""Pusher: copies a blessed model into a serving folder."""
