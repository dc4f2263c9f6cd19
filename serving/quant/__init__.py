"""Four-bit weights: rounding, packing, the layer that multiplies with them, the stage."""
