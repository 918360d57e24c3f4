"""Forms of the layers that XLA compiles to faster code for the CPU."""
