"""Faces and their points as other programs write them."""
