"""What a search found out about its data, teacher and machine before it began."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from autokd.searches.earlier import EarlierSearch
from autokd.searches.lengths import FullLength
from autokd.searches.panel_facts import PanelFacts
from autokd.teachers.cost import TeacherCost

__all__ = ["Facts"]


@dataclass(frozen=True)
class Facts:
    """What a search found out about its data, teacher and machine before it began; the same after resuming.

    Attributes:
        input_shape: Shape of a sample as the student gets it: channels, height and width; channels and length; or
            features.
        classes: Number of classes.
        data_digest: Digest of the samples.
        normalisation: Mean and deviation of each channel or feature, of values in `[0, 1]` or of raw float32.
        teacher_digest: Digest of the teacher.
        teacher_params: Its number of parameters, where it has any.
        teacher_macs: Its multiply-accumulates for one sample, where it is a module.
        teacher_metrics: Its metrics on the validation split.
        device: Name of the device that trains.
        precision: "float32" or "bfloat16"; what "auto" stands for is known after the speed was measured.
        versions: Of Python and of the packages that decide results.
        further_teachers: Digests of the teachers beside the first, by their number.
        teacher_nonzero_params: The teacher's parameters that are not 0. This and the following figures are None where
            it is no module, and in searches of earlier versions.
        teacher_activation_bytes: Peak size of its activations of one sample, see `peak_activation_bytes`.
        teacher_model_bytes: Size of its parameters and buffers of floating-point numbers.
        budget: The limits that every student keeps, by name, with shares of the teacher resolved; None in searches of
            earlier versions, which had no such shares.
        samples: Number of samples of each split, by its name; None in searches of earlier versions.
        spaces: Names of the spaces with students within the budget, if several are searched; empty if only one is.
        graph: The teacher's network as an architecture; None where it has no such form, and in searches of
            earlier versions.
        why_no_graph: Why it has none, if so.
        images_per_second: Speed of training a student as the search may draw it, in one worker; None if none can be
            drawn. This and the following are None in searches of earlier versions, too.
        teacher_images_per_second: Speed of computing the teacher's outputs in one worker; None without `min_trials`.
        rungs: Epochs at each rung, where `min_trials` shortened them; None for those of the configuration.
        full_length: Length of the full-length trainings with `final.seconds`, once it is decided.
        earlier: What the search learns from, as it was: earlier searches may go on, or be deleted.
        panel: The assistants; None if no method learns from any.
        noise_is_known: Whether the model that judges the trials takes the noise of a training for known, see
            `families.training_noise`; False in searches of earlier versions.
        sources: Digests of the files of the user's own spaces and methods, see `own_code`.
        dimensions: What the search chooses from, as text, where some of that code decides it; else empty.
        stored_images: Most images whose teacher outputs were stored for a full-length training; 0 before the first.
    """

    input_shape: tuple[int, ...]
    classes: int
    data_digest: str
    normalisation: tuple[tuple[float, ...], tuple[float, ...]]
    teacher_digest: str
    teacher_params: int | None
    teacher_macs: int | None
    teacher_metrics: dict[str, float]
    device: str
    precision: str
    versions: dict[str, str]
    further_teachers: tuple[str, ...] = ()
    teacher_nonzero_params: int | None = None
    teacher_activation_bytes: int | None = None
    teacher_model_bytes: int | None = None
    budget: dict[str, int] | None = None
    samples: dict[str, int] | None = None
    spaces: tuple[str, ...] = ()
    graph: dict[str, Any] | None = None
    why_no_graph: str = ""
    images_per_second: float | None = None
    teacher_images_per_second: float | None = None
    rungs: tuple[float, ...] | None = None
    full_length: FullLength | None = None
    earlier: tuple[EarlierSearch, ...] = ()
    panel: PanelFacts | None = None
    noise_is_known: bool = False
    sources: dict[str, str] = field(default_factory=dict)
    dimensions: dict[str, str] = field(default_factory=dict)
    stored_images: int = 0

    @property
    def n_train(self) -> int | None:
        """Number of training samples; None in searches of earlier versions."""
        return None if self.samples is None else self.samples["train"]

    @property
    def teacher_cost(self) -> TeacherCost:
        """What the teacher costs, as far as it is known."""
        return TeacherCost(
            params=self.teacher_params,
            nonzero_params=self.teacher_nonzero_params,
            macs=self.teacher_macs,
            activation_bytes=self.teacher_activation_bytes,
            model_bytes=self.teacher_model_bytes,
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Facts":
        """The facts among recorded values."""
        known = {each.name: values[each.name] for each in fields(cls) if each.name in values}
        mean, deviation = known["normalisation"]
        tuples = {
            "input_shape": tuple(known["input_shape"]),
            "normalisation": (tuple(mean), tuple(deviation)),
            "further_teachers": tuple(known.get("further_teachers", ())),
            "spaces": tuple(known.get("spaces", ())),
            "rungs": tuple(rungs) if (rungs := known.get("rungs")) else None,
            "earlier": tuple(map(EarlierSearch.from_dict, known.get("earlier", ()))),
            "panel": PanelFacts.from_dict(panel) if (panel := known.get("panel")) else None,
            "full_length": FullLength.from_dict(length) if (length := known.get("full_length")) else None,
        }
        return cls(**(known | tuples))
