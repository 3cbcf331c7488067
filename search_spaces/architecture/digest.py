"""Colours of the nodes of a directed graph that do not depend on their order, from which digests are made."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

__all__ = ["hashed", "refined_colours"]


def refined_colours(colours: Sequence[str], inputs: Sequence[tuple[int, ...]], ordered: Sequence[bool]) -> list[str]:
    """Colour of each node after colour refinement (Weisfeiler and Leman 1968) on the directed graph.

    Each node's colour is hashed together with those of its inputs, then with those of its users, until no further nodes
    get different colours.

    Args:
        colours: First colour of each node, which says all that is known of the node itself.
        inputs: Indices of the earlier nodes that each node reads.
        ordered: Whether the order of a node's inputs matters.
    """
    refined = list(colours)
    users: list[list[int]] = [[] for _ in inputs]
    for number, sources in enumerate(inputs):
        for source in sources:
            users[source].append(number)

    def seen_from(number: int, user: int) -> str:
        """Colour of a user, with the position at which it reads the node if the position matters."""
        return hashed(refined[user], inputs[user].index(number)) if ordered[user] else refined[user]

    distinct = 0
    while len(set(refined)) > distinct:
        distinct = len(set(refined))
        for number, sources in enumerate(inputs):
            if sources:
                before = [refined[source] for source in sources]
                refined[number] = hashed(refined[number], *(before if ordered[number] else sorted(before)))
        for number in range(len(refined) - 1, -1, -1):
            after = [seen_from(number, user) for user in users[number]]
            refined[number] = hashed(refined[number], *sorted(after))
    return refined


def hashed(*parts: object) -> str:
    """32 hex digits of these values, the same in every process."""
    return blake2b(repr(parts).encode(), digest_size=16).hexdigest()
