"""Networks: their layers, heads and weights, and the description of a trained one, model.json."""
