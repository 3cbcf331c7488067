"""Seeds: every use of randomness derives its own from a few named parts, so that no two uses share a stream."""

import hashlib

__all__ = ["derive"]

_BITS = 63  # fits a signed 64-bit integer, which is what torch, numpy and SQL all take


def derive(*parts: int | str) -> int:
    """A seed in `[0, 2^63)` that depends on every part and on their order, and on nothing else.

    The same parts give the same seed on every machine and Python version (`hash` would not).

    Args:
        parts: For example `(search seed, trial number, replicate, "weights")`.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - _BITS)
