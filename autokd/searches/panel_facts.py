"""What a search found out about the assistants of its panel."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import compress
from typing import Any, Self

from autokd.teachers.panel import weights_of_part

__all__ = ["AssistantFacts", "PanelFacts", "panel_json"]


@dataclass(frozen=True)
class AssistantFacts:
    """One assistant.

    Attributes:
        name: Its name.
        digest: Digest of the network.
        params: Its number of parameters, where it has any.
        accuracy: Its validation accuracy.
        agreement: Share of the validation samples for which it predicts the class that the teacher does.
        learnt_from: Of one that was trained here, whom it learnt from; empty if it was given.
        tried: Its validation accuracy after each training, by whom it learnt from, joined by " + ".
        key: Key of the training that was kept; None if it was given.
        seconds: Time that its trainings took in their workers.
        images: Number of images of these trainings.
        live_teacher_images: Number of images for which these ran a teacher instead of reading its stored outputs; 0 in
            searches of earlier versions.
    """

    name: str
    digest: str
    params: int | None
    accuracy: float
    agreement: float
    learnt_from: tuple[str, ...] = ()
    tried: dict[str, float] = field(default_factory=dict)
    key: str | None = None
    seconds: float = 0.0
    images: float = 0.0
    live_teacher_images: float = 0.0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "AssistantFacts":
        """The facts among recorded values."""
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        return cls(**(known | {"learnt_from": tuple(known.get("learnt_from", ()))}))


@dataclass(frozen=True)
class PanelFacts:
    """The assistants from the largest to the smallest, and how much they and the teacher weigh.

    Attributes:
        assistants: The assistants; those that are still to be trained are missing.
        weights: Weights of the teacher and of each assistant by the rule that found them; empty if no method wants any.
        accuracy: Accuracy of all together with the weights "de", on the half of the validation samples on which these
            were not found; None if no method wants any, and of some of the assistants, which it was not measured for.
        uniform_accuracy: The same with equal weights.
    """

    assistants: tuple[AssistantFacts, ...] = ()
    weights: dict[str, tuple[float, ...]] = field(default_factory=dict)
    accuracy: float | None = None
    uniform_accuracy: float | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the trainings that were kept."""
        return tuple(each.key for each in self.assistants if each.key is not None)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PanelFacts":
        """The facts among recorded values."""
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        assistants = tuple(map(AssistantFacts.from_dict, known["assistants"]))
        weights = {rule: tuple(each) for rule, each in known["weights"].items()}
        return cls(**(known | {"assistants": assistants, "weights": weights}))

    def without_weights(self) -> Self:
        """The facts that say something of a student whose method uses no weights."""
        return replace(self, weights={}, accuracy=None, uniform_accuracy=None)

    def of(self, names: Collection[str]) -> Self:
        """The facts of some of the assistants, with what they and the teacher weigh without the others.

        Args:
            names: Names of the assistants.
        """
        chosen = [each.name in names for each in self.assistants]
        if all(chosen):
            return self
        some, weights = tuple(compress(self.assistants, chosen)), weights_of_part(self.weights, chosen)
        return replace(self, assistants=some, weights=weights, accuracy=None, uniform_accuracy=None)


def panel_json(panel: PanelFacts | None) -> dict[str, Any] | None:
    """The facts as plain values; None without a panel."""
    return None if panel is None else asdict(panel)
