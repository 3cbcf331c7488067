"""Decoding of images, once, into memory or into memory-mapped files. Start with `decode`."""
