"""Labelled samples: where they come from, how they are augmented, and the stream of batches that training sees."""
