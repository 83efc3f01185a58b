"""Transform: full-pass feature engineering with tensorflow_transform."""
