"""What `penguins.py` is made of: its data and its model."""
