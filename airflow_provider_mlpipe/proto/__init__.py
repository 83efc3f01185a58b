"""The generated protobuf module; `make proto` regenerates it."""
