import hashlib
from itertools import permutations

from autokd.core.seeds import derive


def test_derive_is_the_high_63_bits_of_blake2b_of_the_typed_parts():
    digest = hashlib.blake2b(b"int:7\x1fstr:weights", digest_size=8).digest()
    assert derive(7, "weights") == int.from_bytes(digest, "big") // 2


def test_derive_fits_a_signed_64_bit_integer():
    assert all(0 <= derive("range", number) < 2**63 for number in range(1000))


def test_derive_depends_on_every_part_and_on_their_order():
    parts: tuple[int | str, ...] = (1, 2, "a", "b")
    assert len({derive(*order) for order in permutations(parts)}) == 24
    assert len({derive(1), derive("1"), derive(1, ""), derive()}) == 4


def test_derive_tells_many_trials_apart():
    seeds = {derive(0, trial, replicate, "graph") for trial in range(5_000) for replicate in range(4)}
    assert len(seeds) == 20_000
