"""Training: streams of characters, optimisation, checkpoints and the loop."""
