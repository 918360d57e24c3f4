"""How good predictions are: matching with the truth, metrics, confidence intervals."""
