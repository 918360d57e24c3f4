"""Readers of annotation formats, one module each."""
