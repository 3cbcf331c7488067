from search_spaces.architecture.memory import Demand, last_uses, node_peaks


def test_a_chain_needs_two_tensors_at_a_time() -> None:
    demands = [Demand(5, 0, 5, 5), Demand(7, 5, 12, 7), Demand(2, 7, 9, 2)]
    assert node_peaks([(), (0,), (1,)], demands) == [5, 12, 9]


def test_a_merge_needs_its_inputs_and_the_accumulator() -> None:
    demands = [Demand(4, 0, 4, 4), Demand(4, 4, 8, 8), Demand(4, 4, 4, 4)]
    assert node_peaks([(), (0,), (0, 1)], demands) == [4, 12, 12]


def test_a_tensor_is_listed_at_its_last_use() -> None:
    assert last_uses([(), (0,), (0, 1), (2,)]) == [[], [], [0, 1], [2]]
