"""Architectures as PyTorch modules and as generated source."""
