"""Data sets of labelled samples, and the stream of augmented batches for training.

Start with `dataset`, the common form of all data, and `registry.load_data`, which loads what a configuration names.
`sources` has one file for each kind of source, `decoding` decodes images once, `stream` makes the batches of a
training, and `augmentation` and `mixup` compute augmented views.
"""
