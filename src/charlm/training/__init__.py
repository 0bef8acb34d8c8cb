"""Training: from encoded text to a saved model."""
