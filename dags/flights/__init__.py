"""The parts of `flight_delays.py`: its data, its model, its schema and the evaluation of the model."""
