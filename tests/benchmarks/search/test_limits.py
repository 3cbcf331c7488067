import numpy as np
from limits import Limit


def test_an_excess_is_a_share_of_the_limit_and_the_limit_itself_is_kept() -> None:
    limit = Limit.on(np.array([5.0, 10.0, 25.0], dtype=np.float32), 10.0, computable=True)
    assert limit.excesses.tolist() == [-0.5, 0.0, 1.5]
    assert limit.kept.tolist() == [True, True, False]
