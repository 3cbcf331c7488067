"""The model card of an exported student, as the `README.md` of a repository on the Hugging Face hub."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from autokd.core.hub import HUB
from autokd.data.dataset import describe
from autokd.errors import InputError
from autokd.export.preprocess import samples_name, which_channels
from autokd.training.metrics import COLDEST, HOTTEST
from search_spaces.architecture.layers import KINDS

__all__ = ["CARD", "Card"]

CARD = "README.md"
TASKS = {"images": "image-classification", "vectors": "tabular-classification"}
TAGS = ["knowledge-distillation", "neural-architecture-search", "autokd"]
MOST_CLASSES = 20  # that the card lists

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


@dataclass(frozen=True)
class Card:
    """What a model card says that no row of the search does.

    Attributes:
        repository: Name of the repository, "user/name".
        licence: Identifier of the licence, such as "apache-2.0"; None says nothing about it.
    """

    repository: str
    licence: str | None = None

    def __post_init__(self) -> None:
        if not _REPOSITORY.fullmatch(self.repository):
            raise InputError(f"a repository must be `user/name`, but got {self.repository!r}.")

    def text(self, manifest: Mapping[str, Any]) -> str:
        """The card.

        Args:
            manifest: Contents of the manifest, see `Manifest`.
        """
        shape = tuple(manifest["input"]["shape"])
        kind = KINDS[len(shape)]
        found = _environment().get_template("card.md")
        return found.render(
            manifest=manifest,
            metadata=self._metadata(manifest, kind),
            repository=self.repository,
            name=self._name,
            description=describe(shape),
            samples=samples_name(kind),
            dtype="float32" if manifest["input"]["scale"] == 1 else "uint8",
            axes=" x ".join(map(str, ("batch", *shape))) + which_channels(manifest["input"].get("channels")),
            figures=list(_figures(manifest)),
            scaling_temperature=_helpful_temperature(manifest["metrics"]),
            length=_length(manifest["training"]),
            comparison=_comparison(manifest["comparison"]),
            references=list(_references(manifest["references"])),
            origins=list(_origins(manifest)),
        )

    @property
    def _name(self) -> str:
        return self.repository.partition("/")[2]

    def _metadata(self, manifest: Mapping[str, Any], kind: str) -> dict[str, Any]:
        """The head of the card, from which the hub makes its filters and its table of results."""
        source = _public(manifest["data"]["source"])
        metadata: dict[str, Any] = {"license": self.licence} if self.licence else {}
        metadata |= {"library_name": "pytorch", "tags": TAGS, "metrics": ["accuracy"]}
        if source.startswith(HUB) and "/" in source:
            metadata["datasets"] = [source.removeprefix(HUB).partition("@")[0]]
        if kind in TASKS:
            split = "validation" if manifest["metrics"].get("test_accuracy") is None else "test"
            accuracy = manifest["metrics"]["accuracy" if split == "validation" else "test_accuracy"]
            result = {
                "task": {"type": TASKS[kind]},
                "dataset": {"type": source, "name": source, "split": split},
                "metrics": [{"type": "accuracy", "value": accuracy}],
            }
            metadata["pipeline_tag"] = TASKS[kind]
            metadata["model-index"] = [{"name": self._name, "results": [result]}]
        return metadata


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("autokd.export"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"json": partial(json.dumps, ensure_ascii=False), "number": _number, "code": _code}
    return environment


def _helpful_temperature(metrics: Mapping[str, float]) -> float | None:
    """The scaling temperature; None if it is an end of its range, as it is if all samples are right, or does not help.

    It was fitted to the validation samples, and may make the calibration error of the test samples larger.
    """
    temperature = metrics.get("scaling_temperature")
    before, after = metrics.get("test_ece"), metrics.get("test_ece_scaled")
    if temperature is None or not COLDEST < temperature < HOTTEST:
        return None
    return None if before is not None and after is not None and after >= before else temperature


def _figures(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Rows of the table of figures: what, of the student, of the teacher."""
    metrics, teacher, lightness = manifest["metrics"], manifest["teacher"], manifest["axes"]["lightness"]
    ours, theirs = lightness["student"], lightness["teacher"]
    macs = manifest["axes"]["computation"]["student"]["macs"]
    yield "parameters", _number(ours["params"]), _number(teacher["params"])
    yield "multiply-accumulates of one sample", _number(macs), _number(teacher["macs"])
    yield "bytes of the model, float32", _number(ours["model_bytes"]), _number(theirs.get("model_bytes"))
    yield (
        "bytes of activations of one sample",
        _number(ours["activation_bytes"]),
        _number(theirs.get("activation_bytes")),
    )
    tests = teacher["test_metrics"] or {}
    yield "validation accuracy", _percent(metrics["accuracy"]), _percent(teacher["metrics"]["accuracy"])
    yield "test accuracy", _percent(metrics.get("test_accuracy")), _percent(tests.get("accuracy"))
    yield "expected calibration error, test", _percent(metrics.get("test_ece")), _percent(tests.get("ece"))
    yield "the same, temperature-scaled", _percent(metrics.get("test_ece_scaled")), _percent(tests.get("ece_scaled"))


def _references(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for row in rows:
        accuracies = _percent(row["metrics"].get("accuracy")), _percent(row["metrics"].get("test_accuracy"))
        yield row["name"], _number(row["params"]), _number(row["macs"]), f"{row['epochs']:g}", *accuracies


def _length(training: Mapping[str, Any]) -> str:
    kind = "at full length" if training["full_length"] else "of the search alone, not at full length"
    return f"The student was trained for {training['epochs']:g} epochs, {kind}."


def _comparison(comparison: Mapping[str, Any] | None) -> str:
    if comparison is None:
        return " It was compared with nothing that was trained as long."
    margin = "" if comparison["margin"] is None else f" ± {100 * comparison['margin']:.2f}"
    points = f"{100 * comparison['difference']:+.2f}{margin} points of {comparison['split']} accuracy"
    better = "better" if comparison["is_better"] else "not better"
    return f" It is {better} than the best reference trained as long, {comparison['reference']}: {points}."


def _origins(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Rows of the table of origins."""
    data, teacher, training, classes = (manifest[key] for key in ("data", "teacher", "training", "classes"))
    more = ", ..." if len(classes) > MOST_CLASSES else ""
    cost = manifest["search_cost"]
    yield "data", f"{_code(_public(data['source']))}, SHA-256 {_code(data['digest'][:12])}"
    yield "classes", ", ".join(map(_code, classes[:MOST_CLASSES])) + more
    yield (
        "teacher",
        f"{_code(_public(teacher['source'] or 'given in Python'))}, SHA-256 {_code(teacher['digest'][:12])}",
    )
    yield "distillation", _settings(manifest["distillation"])
    yield "family", _settings(manifest["family"])
    origin = "reference" if training.get("reference") else "trial"
    yield "training", _settings({key: training[key] for key in ("precision", "seed", origin, "replicate")})
    yield "search", f"{_code(' '.join(manifest['command'] or ['in Python']))}, began {manifest['search_began'][:10]}"
    yield (
        "cost of the search",
        f"{cost['worker_seconds'] or 0:.0f} s of workers, {_number(cost['images'])} training images",
    )
    yield "versions", ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())


def _public(source: str) -> str:
    """A source without the folders of this machine."""
    kind = HUB if source.startswith(HUB) else ""
    place = Path(source.removeprefix(kind))
    return kind + place.name if place.is_absolute() else source


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(_code(f"{name} = {value}") for name, value in values.items())


def _code(text: object) -> str:
    """Text as code in a cell of a table."""
    plain = " ".join(str(text).split()).replace("`", "'").replace("|", "\\|")
    return f"`{plain}`"


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:,}"


def _percent(share: float | None) -> str:
    return "not measured" if share is None else f"{100 * share:.2f} %"
