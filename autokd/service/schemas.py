"""The types of what routes answer, beside those that searches have themselves, as OpenAPI describes them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from autokd.analysis.rung_correlations import RungCorrelation
from autokd.database.rows import EvaluationRow, EventRow, JobState, StopMode, StudentRow
from autokd.searches.families import Family
from autokd.searches.panel_facts import PanelFacts
from autokd.searches.progress import Progress, Training
from autokd.searches.times import Times
from autokd.searches.under_way import RunningEvaluation
from autokd.service.remembered import AsOf

__all__ = [
    "AuditAnswer",
    "BestAnswer",
    "ExportAnswer",
    "FailureAnswer",
    "FamiliesAnswer",
    "FileAnswer",
    "JobAnswer",
    "NamesAnswer",
    "RecipeAnswer",
    "RetryAnswer",
    "StatusAnswer",
    "StopAnswer",
    "StudentAnswer",
    "TrialAnswer",
    "WorkersAnswer",
]

Metrics = dict[str, float | None]


class RecipeAnswer(BaseModel):
    """A ready-made search."""

    name: str
    description: str


class EarlierAnswer(BaseModel):
    """An earlier search from which a search learns: how many of its trials are used, and how many are not."""

    name: str
    trials: int
    dropped: int


class GainAnswer(BaseModel):
    """What further trials would gain in accuracy at most, in nine of ten cases."""

    trials: int
    most: float


class OutlookAnswer(BaseModel):
    """What the model of a search believes of its winner and of further trials; see `autokd status -o json`."""

    trial: int
    probability_best: float
    low: float
    high: float
    epochs: float
    gain: GainAnswer | None
    is_enough: bool


class FlatnessAnswer(BaseModel):
    """How much the families differ, compared with the noise of a trial."""

    n: int
    observations: int
    ratio: float
    low: float
    high: float
    evidence: float
    is_flat: bool


class StudentAnswer(BaseModel):
    """A student with its costs and metrics; `reference` is the name of the reference that it is, if it is one."""

    trial: int
    parameters: dict[str, Any]
    replicate: int
    digest: str
    params: int
    macs: int
    activation_bytes: int
    model_bytes: int
    memory_bytes: int
    epochs: float
    is_final: bool
    metrics: Metrics
    reference: str | None = None


class ControllerAnswer(BaseModel):
    """The process that runs a search."""

    host: str
    pid: int


class LimitsAnswer(BaseModel):
    """Limits, and the share of each that the best trial's smallest student uses; `used` is null before there is one."""

    allowed: dict[str, float]
    used: dict[str, float] | None


@dataclass(frozen=True, kw_only=True)
class StatusAnswer(Progress):
    """The progress of a search and of its full-length trainings; see `autokd status -o json`.

    `as_of` tells of when the rest is, such as what the model believes.
    """

    as_of: AsOf

    trainings: list[Training]
    rung_correlations: list[RungCorrelation]
    events: list[EventRow]
    controller: ControllerAnswer | None
    limits: LimitsAnswer
    rungs: list[float]
    seconds: Times
    full_length: dict[str, Any] | None
    learns_from: list[EarlierAnswer]
    panel: PanelFacts | None
    outlook: OutlookAnswer | None
    flatness: FlatnessAnswer | None
    front: list[StudentAnswer] | None = None


@dataclass(frozen=True, kw_only=True)
class FamilyAnswer(Family):
    """A family; `is_on_front` is known where the search has several objectives."""

    is_on_front: bool | None = None


class FamiliesAnswer(BaseModel):
    """Families, the best first, and of when the ranking is."""

    as_of: AsOf
    families: list[FamilyAnswer]


class LeftOutAnswer(BaseModel):
    """A reference that failed, and why."""

    name: str
    reason: str | None


class BestAnswer(StudentAnswer):
    """The best student beside its teacher and the references; see `autokd best -o json`, of which all is here."""

    model_config = ConfigDict(extra="allow")

    as_of: AsOf
    search: str
    distillation: dict[str, Any]
    references: list[dict[str, Any]]
    left_out: list[LeftOutAnswer]
    comparison: dict[str, Any] | None
    seconds: Times
    axes: dict[str, Any]
    limits: dict[str, dict[str, float]]
    search_cost: Metrics
    panel: PanelFacts | None
    outlook: OutlookAnswer | None
    remarks: list[str]


@dataclass(frozen=True, kw_only=True)
class EvaluationAnswer(EvaluationRow):
    """An evaluation, with the end of what it printed."""

    metrics: Metrics | None
    log: str | None
    log_tail: list[str]


class TrialRowAnswer(BaseModel):
    """A trial; with several objectives, `value` is a list."""

    number: int
    parameters: dict[str, Any]
    state: str
    value: float | list[float | None] | None
    reason: str | None
    created_at: datetime
    finished_at: datetime | None
    finish_order: int | None
    reference: str | None
    rung: int | None
    seconds: float | None
    at_chance: bool | None


class MetricAnswer(BaseModel):
    """The metric by which trials are compared below the last rung, with its value at each rung."""

    metric: str
    values: dict[int, float]


class TrialAnswer(BaseModel):
    """A trial or reference with its students and evaluations; see `autokd show -o json`."""

    trial: TrialRowAnswer
    family: str
    students: list[StudentRow]
    axes: dict[str, Any] | None
    evaluations: list[EvaluationAnswer]
    fidelity_metric: MetricAnswer
    comparison: dict[str, Any] | None
    learns_from: list[EarlierAnswer]


class LogAnswer(BaseModel):
    """The file of what an evaluation printed, None if it printed nothing, and the last lines of it.

    `/api/searches/{search}/logs/{key}` sends the whole file.
    """

    key: str
    log: str | None
    log_tail: list[str]


class FailureAnswer(BaseModel):
    """A failed trial or reference."""

    trial: int
    reference: str | None
    reason: str | None
    is_workers_fault: bool
    logs: list[LogAnswer]


class WorkersAnswer(BaseModel):
    """The process that runs a search, if one does, and what its workers have."""

    host: str | None
    pid: int | None
    heartbeat_at: datetime | None
    stop: StopMode | None
    evaluations: list[RunningEvaluation]


class FileAnswer(BaseModel):
    """A file of an export, or its zip, which `/api/artefacts/{sha256}` sends."""

    name: str
    sha256: str
    bytes: int


class ExportAnswer(BaseModel):
    """The files of an export, and a zip of them all; None if the export was made before exports had one.

    Its student is of `trial`, and had this validation `accuracy` after so many `epochs`.
    """

    trial: int | None
    accuracy: float | None
    epochs: float | None
    archive: FileAnswer | None
    files: list[FileAnswer]


class StopAnswer(BaseModel):
    """How a search was asked to stop, and the process that hears of it."""

    search: str
    stop: StopMode
    host: str
    pid: int


class RetryAnswer(BaseModel):
    """A trial or reference that is open again, and why it had failed."""

    trial: int
    reference: str | None
    reason: str | None


class NamesAnswer(BaseModel):
    """The names of teachers and data that are registered."""

    teachers: list[str]
    data: list[str]


class JobAnswer(BaseModel):
    """A job of the queue: that a search be run, or if it `trains`, its winner be trained at full length.

    `starts` counts the processes that have taken it.
    If it `has_log`, `/api/queue/{job}/log` sends what they printed.
    """

    id: int
    search: str
    trains: bool
    priority: int
    state: JobState
    reason: str | None
    starts: int
    created_at: datetime
    lease_host: str | None
    lease_pid: int | None
    has_log: bool


class AuditAnswer(BaseModel):
    """A request that changed something or tried to; `token` is the first digits of the token's digest."""

    at: datetime
    token: str | None
    role: str | None
    peer: str | None
    method: str
    path: str
    status: int
