"""Readers of other programs' landmark annotations, and their conversion to the contest's format."""
