"""The parts of `penguins.py`: its data and its model."""
