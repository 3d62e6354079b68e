"""Encoders: from (N, D) features to (N, E) embeddings. Start at `encoder.py`, the protocol that they implement.

A new encoder is one file and one row of ENCODERS. This module imports no torch, so that flags can name the encoders.
"""

ENCODERS = {
    "siamese": "pan_model.model.encoders.siamese:SiameseConfig",
    "proxynca": "pan_model.model.encoders.proxynca:ProxyNCAConfig",
    "graph": "pan_model.model.encoders.graph:GraphConfig",
}
"""The configuration class of each encoder, by name; `encoder.find_encoder` imports it."""
