from search_spaces.architecture.cost import Cost, cost
from search_spaces.architecture.format import Architecture, Node

# 2 -> 3 channels on 4 x 4, a second convolution of the result, the weighted sum of both, and the classifier.
NODES = (
    Node("input", (), 2),
    Node("conv3x3_bn", (0,), 3),
    Node("relu_conv1x1_bn", (1,), 3),
    Node("identity", (1, 2), 3, merge="weighted_sum"),
    Node("classifier", (3,), 5),
)


def test_cost_of_a_network_counted_by_hand() -> None:
    params = (2 * 3 * 9 + 6) + (3 * 3 + 6) + 2 + (3 * 5 + 5)
    macs = 2 * 3 * 9 * 16 + 3 * 3 * 16 + 15
    # Node 2 keeps its input (48), copies it for the ReLU (48) and writes its output (48); the merge needs as much.
    activation_bytes = 4 * 3 * 48
    model_bytes = 4 * (params + 6 + 6)
    assert cost(Architecture((2, 4, 4), 5, NODES)) == Cost(params, macs, activation_bytes, model_bytes)


def test_flops_and_memory_are_derived() -> None:
    costs = Cost(params=1, macs=10, activation_bytes=100, model_bytes=1000)
    assert (costs.flops, costs.memory_bytes) == (20, 1100)


def test_a_plain_sum_has_no_weights() -> None:
    plain = (*NODES[:3], Node("identity", (1, 2), 3, merge="sum"), NODES[4])
    difference = cost(Architecture((2, 4, 4), 5, NODES)).params - cost(Architecture((2, 4, 4), 5, plain)).params
    assert difference == 2
