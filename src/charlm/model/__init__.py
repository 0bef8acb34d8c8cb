"""Language models: networks, n-grams, and what they predict, write and score."""
