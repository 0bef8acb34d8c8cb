"""How good a model is: scores, baselines and memorisation."""
