"""Encoders and decoders: one file a network; the tasks choose among them."""
