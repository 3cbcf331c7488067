"""Conformance suite of search spaces: subclass `SpaceConformance` and override its fixture `space`."""

import os
from collections.abc import Iterator
from contextlib import suppress
from math import prod
from statistics import fmean

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from autokd.testing.draws import digests_elsewhere, draw
from autokd.testing.toys import BATCH, relative_gradients, toy_losses, toy_samples
from search_spaces.architecture.cost import BYTES, cost
from search_spaces.architecture.format import Architecture, Node
from search_spaces.architecture.layers import Shape
from search_spaces.architecture.operations import ORDERED, Width, layers
from search_spaces.design.budget import Budget
from search_spaces.design.choice import SPACE
from search_spaces.design.dimensions import contains
from search_spaces.design.space import Parameters, Space, Value
from search_spaces.errors import BudgetError, SpaceError
from search_spaces.networks.network import build
from search_spaces.networks.source import source

__all__ = ["SpaceConformance", "relabelled", "simulated_peak_bytes"]

STEEPEST = 10.0
"""Largest change of the loss, in nats, per relative change of a kernel at the first step."""

ENOUGH = 0.9
"""Share of the first loss below which a network learns: the mean of five steps at the end of fifty."""


class SpaceConformance:
    """Tests of the guarantees of `search_spaces.design.space.Space`.

    Attributes:
        input_shape: Shape of one sample, without the batch.
        classes: Number of logits.
        budget: A budget that random families of the space can keep.
        draws: Number of families in quick tests; the tests that run torch use a twentieth of it.
        dead: Whether some weights may reach no output, as in the exact network of a benchmark.
        many: Number of families in the exhaustive test (`pytest -m exhaustive`).
        many_run: Number of these on which the exhaustive test runs torch.
        many_trained: Number of families in the exhaustive test of training.
        toy_params: Parameters of networks that are trained, unless the space has a fixed width.
        toy_size: Longest side of the samples on which they are trained.
    """

    input_shape: Shape = (1, 28, 28)
    classes: int = 10
    budget: Budget = Budget(params=150_000)
    draws: int = 60
    dead: bool = False
    many: int = 10_000
    many_run: int = 300
    many_trained: int = 1_000
    toy_params: int = 20_000
    toy_size: int = 8

    @pytest.fixture
    def space(self) -> Space:
        """The space under test."""
        raise NotImplementedError("Override the fixture `space`.")

    def test_parents_come_before_their_children(self, space: Space) -> None:
        """One pass in order decides which dimensions are active."""
        seen: set[str] = set()
        for name, dimension in space.distributions().items():
            assert dimension.parent is None or dimension.parent in seen
            seen.add(name)

    def test_random_parameters_are_complete_and_inside_their_distributions(self, space: Space) -> None:
        """Every draw is a valid family."""
        for seed in range(1000):
            parameters = space.random_parameters(np.random.default_rng(seed))
            complete = space.complete(parameters)
            assert complete == complete | space.fixed | parameters
            for name, value in parameters.items():
                assert contains(space.distributions()[name].distribution, value)

    def test_an_unknown_parameter_is_refused_by_name(self, space: Space) -> None:
        """The error names the parameter."""
        parameters = space.random_parameters(np.random.default_rng(0)) | {"no_such_dimension": 1}
        with pytest.raises(SpaceError, match="no_such_dimension"):
            space.complete(parameters)

    def test_a_missing_parameter_is_refused_by_name(self, space: Space) -> None:
        """The error names the missing parameter."""
        parameters = space.random_parameters(np.random.default_rng(0))
        name = next(iter(parameters))
        with pytest.raises(SpaceError, match=name):
            space.complete({key: value for key, value in parameters.items() if key != name})

    def test_features_are_equal_for_equal_graphs_and_as_many_for_all(self, space: Space) -> None:
        """Features depend on the graph only, and their number is fixed."""
        found: dict[str, tuple[float, ...]] = {}
        for seed in range(self.draws):
            family = self._family(space, seed)
            features = space.features(space.complete(family))
            if not features:
                assert not found
                return
            assert found.setdefault(self._sample(space, family, seed).digest, features) == features
            assert len(features) == len(next(iter(found.values())))

    def test_every_draw_fits_the_budget_and_uses_it(self, space: Space) -> None:
        """No limit is exceeded, and if the width is free at least 95 % of the tightest limit is used."""
        for architecture in self._architectures(space, 5 * self.draws):
            self._check_budget(space, architecture)

    @pytest.mark.skipif(
        "AUTOKD_EXHAUSTIVE" not in os.environ, reason="takes minutes: set AUTOKD_EXHAUSTIVE=1 to run it"
    )
    def test_ten_thousand_draws(self, space: Space) -> None:
        """None fails, all keep the budget, and the costs of some equal those counted by torch."""
        for number, architecture in enumerate(self._architectures(space, self.many)):
            self._check_budget(space, architecture)
            if number % max(1, self.many // self.many_run) == 0:
                self._check_counts(architecture)

    def test_fit_leaves_alone_what_fits(self, space: Space) -> None:
        """Parameters that fit are unchanged; the others are changed to a family of which a draw fits."""
        for seed in range(self.draws // 4):
            rng = np.random.default_rng(seed)
            parameters = space.random_parameters(rng)
            fitted = space.fit(parameters, self.budget, self.input_shape, self.classes, rng)
            assert space.fit(fitted, self.budget, self.input_shape, self.classes, rng) == fitted or space.random
            generous = Budget(params=10**12)
            assert space.fit(parameters, generous, self.input_shape, self.classes, rng) == parameters

    def test_an_impossible_budget_says_how_small_the_draw_can_be(self, space: Space) -> None:
        """`BudgetError` is raised with the smallest cost."""
        rng = np.random.default_rng(0)
        with pytest.raises(BudgetError, match=r"params=[0-9]+ > 10"):
            space.sample(space.random_parameters(rng), Budget(params=10), self.input_shape, self.classes, rng)

    def test_the_same_seed_gives_the_same_architecture(self, space: Space) -> None:
        """All randomness comes from the generator."""
        for seed in range(self.draws // 4):
            assert self._architecture(space, seed) == self._architecture(space, seed)

    def test_the_same_seed_gives_the_same_architecture_in_another_process(self, space: Space) -> None:
        """Nothing depends on the order of a set of text, which differs from one process to the next."""
        here = [self._architecture(space, seed).digest for seed in range(3)]
        assert digests_elsewhere(space, self._limits, range(3)) == here

    def test_draws_read_and_move_no_global_random_state(self, space: Space) -> None:
        """The global random state of NumPy is not changed."""
        before = np.random.get_state(legacy=False)
        self._architecture(space, 0)
        after = np.random.get_state(legacy=False)
        assert str(before) == str(after)

    def test_a_family_has_one_member_exactly_where_the_space_says_so(self, space: Space) -> None:
        """Draws are equal if and only if `single_member` is true, and random spaces describe it.

        A choice among spaces describes families as each of these does.
        """
        for seed in range(self.draws // 4):
            parameters = self._family(space, seed)
            digests = [self._sample(space, parameters, 100 + number).digest for number in range(4)]
            assert (len(set(digests)) == 1) == space.single_member(parameters)
            chosen = space.members.get(str(parameters.get(SPACE)), space)
            said = "one member" in space.describe(parameters)
            assert said == (chosen.random and space.single_member(parameters))

    def test_json_brings_the_same_architecture_back(self, space: Space) -> None:
        """The architecture and its digest survive a round trip through JSON."""
        for architecture in self._architectures(space, self.draws // 4):
            again = Architecture.from_json(architecture.to_json())
            assert again == architecture
            assert again.digest == architecture.digest

    def test_the_digest_does_not_depend_on_the_order_of_the_nodes(self, space: Space) -> None:
        """Nor does it depend on the names of the nodes."""
        for seed, architecture in enumerate(self._architectures(space, self.draws // 4)):
            assert relabelled(architecture, np.random.default_rng(seed)).digest == architecture.digest

    def test_the_fast_cost_is_the_cost(self, space: Space) -> None:
        """The cost of a blueprint, which counts equal nodes once, equals that of its architecture."""
        for seed in range(self.draws // 2):
            rng = np.random.default_rng(seed)
            parameters = space.complete(space.random_parameters(rng))
            blueprint = space.blueprint(parameters, self.input_shape, self.classes, rng)
            widths = tuple(int(width) for width in rng.integers(1, 40, len(blueprint.ratios)))
            assert blueprint.cost(widths) == cost(blueprint.fill(widths))

    def test_activation_bytes_are_those_of_a_simulation(self, space: Space) -> None:
        """Peak memory equals that of a simulation that tracks every tensor."""
        for architecture in self._architectures(space, self.draws // 4):
            assert cost(architecture).activation_bytes == simulated_peak_bytes(architecture)

    def test_parameters_and_macs_are_what_torch_counts(self, space: Space) -> None:
        """Parameters, multiply-accumulates and bytes are exact."""
        for architecture in self._architectures(space, max(2, self.draws // 20)):
            self._check_counts(architecture)

    def test_a_step_of_training_reaches_every_weight(self, space: Space) -> None:
        """Every weight has a finite gradient."""
        for architecture in self._architectures(space, max(2, self.draws // 20)):
            network = build(architecture)
            samples = torch.randn(4, *self.input_shape, generator=torch.Generator().manual_seed(0))
            loss = torch.nn.functional.cross_entropy(network(samples), torch.arange(4) % self.classes)
            gradients = torch.autograd.grad(loss, list(network.parameters()), allow_unused=self.dead)
            assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None)

    def test_every_draw_trains(self, space: Space) -> None:
        """Gradients are in scale at the first step, and the loss falls within fifty."""
        for number, architecture in enumerate(self._toys(space, max(2, self.draws // 10))):
            self._check_first_step(architecture)
            if number < max(1, self.draws // 30):
                self._check_training(architecture)

    @pytest.mark.skipif("AUTOKD_EXHAUSTIVE" not in os.environ, reason="takes hours: set AUTOKD_EXHAUSTIVE=1 to run it")
    def test_a_thousand_draws_train(self, space: Space) -> None:
        """The same for many families."""
        for architecture in self._toys(space, self.many_trained):
            self._check_first_step(architecture)
            self._check_training(architecture)

    def test_the_generated_source_computes_the_same_bits(self, space: Space) -> None:
        """The weights are those of the built network, loaded by name."""
        for architecture in self._architectures(space, max(2, self.draws // 20)):
            network = build(architecture, seed=1).eval()
            names: dict[str, type[torch.nn.Module]] = {}
            exec(source(architecture, "Student"), names)
            student = names["Student"]().eval()
            student.load_state_dict(network.state_dict())
            images = torch.randn(2, *self.input_shape, generator=torch.Generator().manual_seed(0))
            with torch.no_grad():
                assert torch.equal(student(images), network(images))

    def _architectures(self, space: Space, n: int) -> Iterator[Architecture]:
        return (self._architecture(space, seed) for seed in range(n))

    def _architecture(self, space: Space, seed: int) -> Architecture:
        return draw(space, self._limits, seed)

    @property
    def _limits(self) -> tuple[Budget, Shape, int]:
        return self.budget, self.input_shape, self.classes

    def _family(self, space: Space, seed: int) -> dict[str, Value]:
        rng = np.random.default_rng(seed)
        parameters = space.random_parameters(rng)
        return space.fit(parameters, self.budget, self.input_shape, self.classes, rng)

    def _toys(self, space: Space, n: int) -> Iterator[Architecture]:
        """Small networks on small samples."""
        shape = (self.input_shape[0], *(min(size, self.toy_size) for size in self.input_shape[1:]))
        budget = Budget(params=self.toy_params) if space.width is None else self.budget
        for seed in range(n):
            rng = np.random.default_rng(seed)
            family = space.fit(space.random_parameters(rng), budget, shape, self.classes, rng)
            with suppress(BudgetError):  # a draw of a family that barely fits
                yield space.sample(family, budget, shape, self.classes, rng)

    def _check_first_step(self, architecture: Architecture) -> None:
        samples, labels = toy_samples(architecture.input_shape, architecture.classes)
        norms = relative_gradients(build(architecture), samples[:BATCH], labels[:BATCH])
        assert all(norm < STEEPEST for norm in norms.values()), (architecture.to_json(), norms)

    def _check_training(self, architecture: Architecture) -> None:
        losses = toy_losses(build(architecture), *toy_samples(architecture.input_shape, architecture.classes))
        assert fmean(losses[-5:]) < ENOUGH * losses[0], (architecture.to_json(), losses)

    def _check_budget(self, space: Space, architecture: Architecture) -> None:
        used = self.budget.tightest(cost(architecture))
        assert used <= 1
        assert used >= 0.95 or space.width is not None

    def _check_counts(self, architecture: Architecture) -> None:
        network = build(architecture).eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, *self.input_shape))
        costs = cost(architecture)
        assert costs.params == sum(parameter.numel() for parameter in network.parameters())
        assert costs.flops == counter.get_total_flops()
        floats = [value for value in network.state_dict().values() if value.is_floating_point()]
        assert costs.model_bytes == BYTES * sum(value.numel() for value in floats)

    def _sample(self, space: Space, parameters: Parameters, seed: int) -> Architecture:
        rng = np.random.default_rng([1, seed])
        return space.sample(parameters, self.budget, self.input_shape, self.classes, rng)


def relabelled(architecture: Architecture, rng: np.random.Generator) -> Architecture:
    """The same graph with its nodes in a random execution order, without names and stages."""
    nodes = architecture.nodes
    order = [0]
    while len(order) < len(nodes):
        done = set(order)
        ready = [i for i, node in enumerate(nodes) if i not in done and done.issuperset(node.inputs)]
        order.append(ready[int(rng.integers(len(ready)))])
    place = {number: position for position, number in enumerate(order)}
    moved = []
    for node in (nodes[number] for number in order):
        mixed = node.inputs if node.merge in ORDERED else rng.permutation(node.inputs).tolist()
        inputs = tuple(place[source] for source in mixed)
        moved.append(Node(node.operation, inputs, node.channels, node.stride, node.merge))
    return Architecture(architecture.input_shape, architecture.classes, tuple(moved))


def simulated_peak_bytes(architecture: Architecture) -> int:
    """Peak of live activations by tracking every tensor; a slow reference implementation for `cost`."""
    shapes = architecture.shapes()
    alive = {0: prod(shapes[0])}
    peak = alive[0]
    for number, node in enumerate(architecture.nodes[1:], 1):
        later = {source for after in architecture.nodes[number + 1 :] for source in after.inputs}
        shape = architecture.entering()[number]
        own = 0  # size of the tensor that this node may overwrite
        if len(node.inputs) > 1:
            own = prod(shape)
            peak = max(peak, sum(alive.values()) + own)
        elif node.inputs[0] not in later:
            own = prod(shape)
        alive = {source: size for source, size in alive.items() if source in later}
        peak = max(peak, sum(alive.values()) + own)
        for layer in layers(node.operation, Width(shape[0], node.channels, node.stride, len(shape) - 1)):
            result = prod(layer.output(shape))
            if not layer.elementwise:
                peak = max(peak, sum(alive.values()) + own + layer.working(shape))
                own = result
            elif not own:
                own = result
                peak = max(peak, sum(alive.values()) + own)
            shape = layer.output(shape)
        alive[number] = own or prod(shape)
        peak = max(peak, sum(alive.values()))
    return BYTES * peak
