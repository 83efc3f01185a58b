"""Pusher: hands a blessed model to a serving folder."""
