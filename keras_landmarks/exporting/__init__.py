"""Exports a trained model to the formats of other programs."""
