"""What `flight_delays.py` is made of: its data, its model, its schema and how the model is judged."""
