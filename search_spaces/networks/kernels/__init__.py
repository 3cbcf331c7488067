"""Passes over tensors in C for training on one thread of a CPU, compiled when they are first used."""
