"""Synthetic faces, drawn procedurally, with their landmarks."""
