"""What happens around `fit`: learning rates, callbacks, state on disk."""
