"""Finds copies of images and wrong labels in a dataset."""
