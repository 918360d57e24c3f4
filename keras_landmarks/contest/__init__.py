"""The contest's data format: landmark tables, the images that they list, and predictions."""
