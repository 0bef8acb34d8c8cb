"""How good a model is: scores, baselines, comparison, diagnostics and memorization."""
