"""Layouts of landmarks: what each point is, and which point it becomes in a mirror."""
