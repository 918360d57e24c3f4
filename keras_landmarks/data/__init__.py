"""Faces and their points: read, checked, drawn, augmented, framed and fed to a model."""
