"""What the database sums up or picks out of all rows of a search, so that nobody need read them."""

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select
from sqlalchemy import cast as sql_cast

from autokd.database.models import Evaluation, Student, Trial
from autokd.database.outages import patient
from autokd.database.reading import IS_FINAL, IS_REFERENCE, IS_TRIAL, NO_LIMITS, Reader, cost_of
from autokd.database.rows import EvaluationTotals, TrialTotals
from autokd.database.types import BigInt

__all__ = [
    "best_student_trial_id",
    "evaluation_keys",
    "evaluation_totals",
    "longest_trial_ids",
    "mean_costs",
    "trial_totals",
]

_FAILS = and_(Evaluation.trial_id == Trial.id, Evaluation.state == "failed")
_FAILED_BY_WORKERS = and_(
    Trial.state == "failed",
    exists().where(_FAILS),
    ~exists().where(_FAILS, or_(Evaluation.fault.is_(None), Evaluation.fault != "worker")),
)


@patient
def trial_totals(store: Reader, search_id: int) -> list[TrialTotals]:
    """Counts and sums over a search's trials, by state and, if they failed, by reason.

    They are in the order of their first trials, and references do not count.
    """
    reason = case((Trial.state == "failed", Trial.reason))
    at_chance = func.sum(case((Trial.at_chance.is_(True), 1), else_=0))
    sums = func.count().label("n"), func.coalesce(func.sum(Trial.seconds), 0.0).label("seconds")
    retriable = func.sum(case((_FAILED_BY_WORKERS, 1), else_=0))
    query = select(
        Trial.state, reason.label("reason"), *sums, at_chance.label("at_chance"), retriable.label("retriable")
    )
    query = query.where(Trial.search_id == search_id, IS_TRIAL).group_by(Trial.state, reason)
    return store.rows(TrialTotals, query.order_by(func.min(Trial.number)))


@patient
def evaluation_totals(store: Reader, search_id: int) -> EvaluationTotals:
    """Sums over all of a search's evaluations."""
    sums: list[Any] = [
        func.coalesce(func.sum(Evaluation.seconds), 0.0).label("seconds"),
        _total("images").label("images"),
        _total("live_teacher_images").label("live_teacher_images"),
        func.count(_metric("test_accuracy")).label("n_tested"),
    ]
    return store.rows(EvaluationTotals, select(*sums).where(Evaluation.search_id == search_id))[0]


@patient
def evaluation_keys(store: Reader, search_id: int) -> list[str]:
    """Keys of all of a search's evaluations, by id."""
    with store.session() as session:
        query = select(Evaluation.key).where(Evaluation.search_id == search_id)
        return list(session.scalars(query.order_by(Evaluation.id)))


@patient
def best_student_trial_id(store: Reader, search_id: int, limits: Mapping[str, int] = NO_LIMITS) -> int | None:
    """Id of the trial of the best of a search's students: by length of the training, by accuracy after it, by id.

    Neither references nor students of failed trials or trained at full length count. None if no student was trained.

    Args:
        store: The database.
        search_id: Id of the search.
        limits: The largest cost of the student, by name.
    """
    query = select(Evaluation.trial_id).where(*_longest(search_id, limits))
    best_first = _metric("accuracy").desc(), Evaluation.student_id
    with store.session() as session:
        return session.scalar(query.order_by(*best_first).limit(1))


@patient
def longest_trial_ids(store: Reader, search_id: int) -> list[int]:
    """Ids of a search's trials of which a student trained as long as any did, without references and failed trials."""
    query = select(Evaluation.trial_id).where(*_longest(search_id)).distinct()
    with store.session() as session:
        return list(session.scalars(query.order_by(Evaluation.trial_id)))


@patient
def mean_costs(store: Reader, search_id: int, *names: str) -> dict[int, list[float]]:
    """Means of some costs over the students of each of a search's trials by its number, as the search drew them.

    Args:
        store: The database.
        search_id: Id of the search.
        names: Names of the costs.
    """
    means = (func.avg(cost_of(name)) for name in names)
    query = select(Trial.number, *means).join(Student, Student.trial_id == Trial.id).group_by(Trial.number)
    query = query.where(Trial.search_id == search_id, IS_TRIAL, Student.purpose == "search")
    with store.session() as session:
        return {number: [float(mean) for mean in costs] for number, *costs in session.execute(query)}


def _longest(search_id: int, limits: Mapping[str, int] = NO_LIMITS) -> list[ColumnElement[bool]]:
    """That an evaluation is complete and as long as any, without references, full lengths and trials that failed.

    Args:
        search_id: Id of the search.
        limits: The largest cost of the students that count, by name.
    """
    others = select(Trial.id).where(Trial.search_id == search_id, or_(IS_REFERENCE, Trial.state == "failed"))
    finals = select(Student.id).where(Student.search_id == search_id, IS_FINAL)
    trained = [
        Evaluation.search_id == search_id,
        Evaluation.state == "complete",
        Evaluation.trial_id.not_in(others),
        Evaluation.student_id.not_in(finals),
    ]
    if limits:
        kept = (cost_of(name) <= limit for name, limit in limits.items())
        trained.append(Evaluation.student_id.in_(select(Student.id).where(Student.search_id == search_id, *kept)))
    return [*trained, Evaluation.epochs == select(func.max(Evaluation.epochs)).where(*trained).scalar_subquery()]


def _metric(name: str) -> ColumnElement[float]:
    """A metric of an evaluation; NULL if it has none, as one that is not complete."""
    return cast("ColumnElement[float]", Evaluation.metrics[name].as_float())


def _total(name: str) -> ColumnElement[int | None]:
    """Sum of a metric that counts over complete evaluations; NULL if one of them does not have it."""
    of_all = func.count(_metric(name)) == func.count(case((Evaluation.state == "complete", 1)))
    return case((of_all, sql_cast(func.coalesce(func.sum(_metric(name)), 0.0), BigInt)))
