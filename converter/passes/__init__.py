"""What is done to a TFLite model: each pass changes one parsed model (converter.graph.unpack) in its place."""
