"""Predicts landmarks with a trained model, for contest folders and for photos and videos."""
