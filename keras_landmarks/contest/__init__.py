"""Files in the contest's form: tables, the images they list, predictions."""
