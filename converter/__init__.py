"""The host's converter: a Keras file becomes full-int8 TFLite with a contract, or is refused."""
