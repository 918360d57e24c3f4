"""A trained network in other programs' formats: written, read back, described."""
