# /// script
# dependencies = ["flaml[blendsearch]==2.8.0"]
# ///
"""FLAML's BlendSearch, https://openreview.net/forum?id=VbLH04pRA3: local searches that a global one starts."""

from flaml import BlendSearch, tune
from serving import Space, serve


class Flaml:
    """BlendSearch with its defaults."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._configs = space, []
        known = {name: _domain(size, ordered) for name, size, ordered in space.parameters}
        self._search = BlendSearch(metric="value", mode="max", space=known, seed=seed)
        self._search.set_search_properties(config=known, metric="value", mode="max")

    def ask(self):
        config = None
        while config is None:  # as Ray Tune does, which asks again where it has nothing to propose yet
            config = self._search.suggest(str(len(self._configs)))
        self._configs.append(config)
        return self._space.point(config)

    def tell(self, number, value):
        result = None if value is None else {"value": value, "config": self._configs[number]}
        self._search.on_trial_complete(str(number), result, error=value is None)


def _domain(size, ordered):
    if size is None:
        return tune.uniform(0, 1)
    return tune.randint(0, size) if ordered else tune.choice(list(range(size)))


serve(Flaml)
