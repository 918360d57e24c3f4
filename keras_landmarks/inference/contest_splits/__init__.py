"""Predictions of a split in the contest's form, and the submission made from them."""
