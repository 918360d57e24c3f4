"""Figures and pictures of predictions."""
