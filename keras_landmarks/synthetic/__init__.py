"""Synthetic faces with their landmarks, and data sets of them."""
