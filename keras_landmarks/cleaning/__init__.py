"""Finding copies of a photo and labels that are probably wrong."""
