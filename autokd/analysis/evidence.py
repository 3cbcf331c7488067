"""The data of a search's pictures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from autokd.config.fidelity_metrics import FidelityMetric
from autokd.config.objectives import Against
from autokd.errors import InputError
from autokd.searches.families import Family
from autokd.searches.pareto import pareto_fronts
from autokd.searches.part import MANY, MOST_CLIMBED, TrialOutcome
from autokd.searches.students import TrainedStudent
from autokd.searches.tables import counted
from autokd.searches.trial_record import TrialRecord
from search_spaces.design.dimensions import Dimension

if TYPE_CHECKING:
    from autokd.searches.result import SearchResult

__all__ = ["Evidence", "evidence", "set_against"]

ROUGH_BELOW = 30  # trials, by which importances are told


@dataclass(frozen=True)
class Evidence:
    """The data of a picture.

    Attributes:
        name: Of the search.
        teacher_accuracy: On the validation split.
        references: Validation accuracy of each reference at the last rung, by name.
        outcomes: State and value of each of its trials, by number.
        climbed: Trials that reached the last rung; of very many, some that are spread evenly.
        families: What the model believes of those with a value, the best first; of very many, of a part.
        dimensions: What was searched.
        distillation: Names of those dimensions that belong to the distillation.
        importances: Of the dimensions, the most important first; none where nothing can be said.
        note: Why there are none.
        rungs: Epochs at which trials were judged.
        metric: By what they were, below the last rung.
        costs: The objectives beside the accuracy.
        front: The students of the front, if there are costs.
        beside: The references as the search trained them, which stand beside the front.
        finals: Students and references trained at full length that stand beside it.
        limits: Of the budget, by the name of the cost.
        teacher_cost: What the teacher costs, by the same names; None where that is not known.
    """

    name: str
    teacher_accuracy: float
    references: Mapping[str, float]
    outcomes: Sequence[TrialOutcome]
    climbed: Sequence[TrialRecord]
    families: Sequence[Family]
    dimensions: Mapping[str, Dimension]
    distillation: frozenset[str]
    importances: Mapping[str, float]
    note: str | None
    rungs: Sequence[float]
    metric: FidelityMetric
    costs: Sequence[Against] = ()
    front: Sequence[TrainedStudent] = ()
    beside: Sequence[TrainedStudent] = ()
    finals: Sequence[TrainedStudent] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    teacher_cost: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def caveat(self) -> str:
        """How many trials the importances rest on, and whether these are few."""
        n, total = sum(each.state in ("complete", "pruned") for each in self.outcomes), len(self.outcomes)
        if total > MANY:
            return f"from {MANY} of {counted(total, 'trial')}"
        return f"from {counted(n, 'trial')}" + (": rough" if n < ROUGH_BELOW else "")

    @property
    def ranked(self) -> str:
        """Of how many trials the model's beliefs are drawn, if not of all."""
        if not self.families or self.families[0].learnt_from == len(self.outcomes):
            return ""
        return f", {self.families[0].learnt_from} of {len(self.outcomes)}"


def evidence(result: "SearchResult", families: Sequence[Family] | None = None) -> Evidence:
    """Collect the data of a search's picture.

    Args:
        result: The search.
        families: Its families, if they are known already.

    Raises:
        InputError: If no trial of it has a value yet.
    """
    problem, families = result.problem, result.families if families is None else families
    if not families:
        raise InputError(f"search {result.name!r} has no trial with a value yet: there is nothing to plot.")
    importances, note = _importances(result)
    leading = result.leading if problem.costs else ()
    return Evidence(
        name=result.name,
        teacher_accuracy=problem.facts.teacher_metrics["accuracy"],
        references={
            reference.name: reference.accuracy
            for reference in result.progress.references
            if reference.state == "complete" and reference.accuracy is not None
        },
        outcomes=result.outcomes,
        climbed=result.spread(MOST_CLIMBED, "complete"),
        families=families,
        dimensions=problem.dimensions,
        distillation=frozenset(problem.methods.dimensions),
        importances=importances,
        note=note,
        rungs=problem.rungs,
        metric=problem.fidelity_metric,
        costs=problem.costs,
        front=_searched(pareto_fronts(leading, *problem.costs)),
        beside=_references(leading),
        limits=problem.budget.limits,
        teacher_cost=problem.facts.teacher_cost.to_dict(),
    )


def set_against(
    shown: Evidence, leading: Sequence[TrainedStudent], cost: Against, costs: Mapping[int, Sequence[float]]
) -> Evidence:
    """The same with the accuracy set against a cost, whether or not it is an objective.

    Args:
        shown: The data.
        leading: The `leading` students of its search, which take time to read.
        cost: The cost that is to be small.
        costs: Mean of that cost over the students of each trial, by its number, from `mean_costs`.
    """
    return replace(
        shown,
        outcomes=[replace(each, costs=costs[each.number]) for each in shown.outcomes if each.number in costs],
        costs=(cost,),
        front=_searched(pareto_fronts(leading, cost)),
        beside=_references(leading),
        finals=[student for student in leading if student.is_final],
    )


def _searched(students: Iterable[TrainedStudent]) -> list[TrainedStudent]:
    """Those that the search trained, not at full length."""
    return [student for student in students if not student.is_final]


def _references(leading: Iterable[TrainedStudent]) -> list[TrainedStudent]:
    return [student for student in _searched(leading) if student.trial.reference]


def _importances(result: "SearchResult") -> tuple[dict[str, float], str | None]:
    try:
        return result.importances, None
    except InputError as error:
        return {}, str(error)
