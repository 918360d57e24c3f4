"""Faces in videos: tracked from frame to frame, smoothed, and written."""
