"""What can be said of a NAS-Bench-201 cell without training it: its graph, less what no path from in to out reaches."""

from collections.abc import Sequence

from tasks import Params

__all__ = ["cell_features"]

_PATHS = (("3<0",), ("1<0", "3<1"), ("2<0", "3<2"), ("1<0", "2<1", "3<2"))
_CONVOLUTIONS = frozenset({"nor_conv_1x1", "nor_conv_3x3"})
_COUNTED = ("nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3", "skip_connect")


def cell_features(params: Params) -> Sequence[float]:
    """How often each operation is on a path, convolutions on the path with most and with fewest, and the paths.

    Args:
        params: Operations by edge, `to<from`.
    """
    paths = [path for path in _PATHS if all(params[edge] != "none" for edge in path)]
    operations = [params[edge] for edge in sorted({edge for path in paths for edge in path})]
    depths = [sum(params[edge] in _CONVOLUTIONS for edge in path) for path in paths] or [-1]
    return [*(operations.count(name) for name in _COUNTED), max(depths), min(depths), len(paths)]
