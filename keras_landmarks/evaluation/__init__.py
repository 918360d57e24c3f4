"""Scores predictions: matching with the truth, metrics, confidence intervals, ensembles."""
