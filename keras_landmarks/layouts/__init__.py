"""Layouts of landmarks: regions of the face, mirror maps, and the linear shape model."""
