"""Two methods in turn: one teaches first, the other last."""

from optuna.distributions import BaseDistribution, FloatDistribution

from autokd.distillation.base import BatchContext, Method
from autokd.distillation.checks import share
from autokd.distillation.wrappers.combined import Combined

__all__ = ["InTurn"]


class InTurn(Combined):
    """The first method, labels' weight included, up to a share of training, and the last one from there on.

    Both are prepared before the first step, and what either needs, such as feature maps or further views, is provided
    throughout. The parameters of the one that does not teach do not change. Schedules within the methods, such as
    warm-ups, count from the beginning of the training.

    Args:
        first: The method that teaches first.
        last: The method that teaches last.
        switch: Share of training after which the last method teaches, in `[0, 1]`. The default of 0.5 and the range,
            0.1 to 0.9, are ours.

    Raises:
        InputError: If `switch` is out of range, or both methods use further views or choose the layers.
    """

    name = "in-turn"

    def __init__(self, first: Method, last: Method, switch: float = 0.5) -> None:
        super().__init__([first, last])
        self.switch = share(switch=switch)

    @staticmethod
    def distributions() -> dict[str, BaseDistribution]:
        """Distribution of the switch."""
        return {"switch": FloatDistribution(0.1, 0.9)}

    def active(self, context: BatchContext) -> list[Method]:
        """The first method before the switch, then the last one."""
        first, last = self.members
        return [first if context.progress < self.switch else last]
