"""A recorded search, and how to go on with it."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from autokd.config.parsing import checked_copy
from autokd.config.schema import SearchConfig
from autokd.core.device import pick_device
from autokd.database.errors import DatabaseGone
from autokd.database.lease import Lease, request_stop
from autokd.database.rows import SearchRow, SearchStatus
from autokd.errors import AutoKDError, DepotError, DiskFullError, InputError, InterruptedSearchError, first_line
from autokd.evaluation.precompute import check_teachers
from autokd.export.card import Card
from autokd.export.folder import write_folder
from autokd.export.replacement import check_replaceable
from autokd.export.verification import Verification
from autokd.searches.axes import stored_images
from autokd.searches.comparison import describe_references
from autokd.searches.controller import Controller
from autokd.searches.dispatcher import Dispatcher
from autokd.searches.manifest import describe_export, origin
from autokd.searches.own_code import changed_code
from autokd.searches.pace import with_full_length
from autokd.searches.panel_stage import PanelStage
from autokd.searches.problem import Problem
from autokd.searches.progress import current_progress, up_to_date, why_failed
from autokd.searches.recorded import RecordedSearch
from autokd.searches.references import references_to_retrain
from autokd.searches.reporter import Reporter
from autokd.searches.retraining import Retraining, teacher_on_test, trainings
from autokd.searches.retry import reopen
from autokd.searches.session import session
from autokd.searches.students import TrainedStudent, as_asked_for, trained_students
from autokd.searches.trial_record import TrialRecord, reference_records
from autokd.teachers.process_cache import forget_teacher
from autokd.teachers.registry import Teacher
from search_spaces.design.budget import Budget
from workers.base import Executor
from workers.errors import EngineLost
from workers.worker_process import leave_if_importing

if TYPE_CHECKING:
    from autokd.searches.asking import Asking

__all__ = ["SearchResult"]


@dataclass(frozen=True, repr=False)
class SearchResult(RecordedSearch):
    """A recorded search: what it found so far, and how to go on.

    Attributes:
        teacher: The teacher, where it was given as an object.
        reporter: Hears of the progress.
    """

    teacher: Teacher | None
    reporter: Reporter

    def resume(self, config: SearchConfig | None = None) -> Self:
        """Go on until all trials are finished; the same code as beginning.

        Args:
            config: A changed configuration; only trials, seconds, workers, references, final, stop and tracking may
                differ.

        Raises:
            InputError: If anything else differs, another controller owns the search, or data or teacher are gone.
            InterruptedSearchError: If it is interrupted; everything recorded stays.
            AutoKDError: If no trial could be trained.
        """
        with self._session("resume", self._changed(config)) as (lease, dispatcher):
            search = dispatcher.store.search(self.name)
            dispatcher.on_change = lambda: self.reporter.searched(current_progress(dispatcher.store, search, self.home))
            problem = self.problem_of(search)
            check_teachers(problem.context, self.teacher)
            problem = PanelStage(dispatcher.store, lease, problem, dispatcher).run()
            controller = self._controller(lease, dispatcher, problem)
            controller.run()
            progress = controller.record_end()
            self.reporter.searched(progress)
        if progress.status == "interrupted":  # no trial has begun
            raise InterruptedSearchError(
                f"the `seconds` of search {self.name!r} were over before its first trial; "
                f"`{self.way_on('resume', ' --set seconds=...', 'config')}` with more of them goes on."
            )
        if progress.best_trial is None:
            raise AutoKDError(why_failed(progress))
        for remark in self.remarks:
            self.reporter.notify(remark)
        return self

    @contextmanager
    def asking(self) -> Iterator["Asking"]:
        """A block in which you train the students, see `Asking`; after it, another one or `resume` goes on.

        Raises:
            InputError: If another controller owns the search, or assistants are still to be trained.
            InterruptedSearchError: If it is interrupted; everything recorded stays.
        """
        from autokd.searches.asking import AskedTasks, Asking

        problem, tasks = self.problem, AskedTasks()
        if problem.lacks_assistants:
            raise InputError("panel: the workers of `resume` train assistants: interrupt it after that, or give them.")
        with self._session("asking", self.config, tasks) as (lease, dispatcher):
            asking = Asking(self._controller(lease, dispatcher, problem), tasks)
            yield asking
            self.reporter.searched(asking.record_end())

    def _controller(self, lease: Lease, dispatcher: Dispatcher, problem: Problem) -> Controller:
        search = dispatcher.store.search(self.name)
        controller = Controller(dispatcher.store, lease, problem, dispatcher)

        def report() -> None:
            progress = controller.progress(search)
            self.reporter.searched(up_to_date(progress, search, self.home, self.reporter.n_evaluations))

        dispatcher.on_change = report
        return controller

    def stop(self, now: bool = False) -> SearchRow:
        """Ask the process that runs the search, here or elsewhere, to stop; return the row that names it.

        It hears of that within seconds. The search can be resumed.

        Args:
            now: Whether to interrupt running evaluations, too, as Ctrl-C does; otherwise they end first.

        Raises:
            InputError: If no process runs it.
        """
        with self.home.open() as store:
            return request_stop(store, self.name, "now" if now else "gracefully")

    def retry(self, failed: bool = False) -> Sequence[TrialRecord]:
        """Open trials and references again that failed by a worker's fault, and return them as they were.

        `resume` then goes on with them, from their last checkpoints. Failed trainings at full length need none of this:
        `train` begins them again.

        Args:
            failed: Whether to open all that failed, also those that did so by their own fault.

        Raises:
            InputError: If a process runs the search.
        """
        with self.home.open() as store:
            return reopen(store, self.name, failed)

    def train(self, config: SearchConfig | None = None, within: Budget | None = None) -> Sequence[TrainedStudent]:
        """Train students of the best families at full length, and return them, the best first.

        These are the first `final.families` of `families` among those that climbed to the last rung, or as high as any
        did. References are trained beside their students, as `references.final` says. A student that was trained
        longer before is returned as it is after the training that was asked for now.

        Args:
            config: A changed configuration, as for `resume`.
            within: Further limits: only families whose searched student keeps them count, and only draws that do are
                trained.

        Raises:
            InputError: If the search has no trained student yet, or another controller owns it.
            InterruptedSearchError: If it is interrupted; `train` goes on from the last epoch.
            AutoKDError: If all trainings failed.
        """
        from autokd.searches.families import winners  # loads the model

        within = within or Budget()
        trials = self._to_rank(within)
        small = {one.trial.number for one in trials if one.students and within.fits(one.students[0].cost)}
        ranked = winners([family for family in self._ranked(trials) if family.trial in small])
        best = self._found(next(iter(ranked), None), within)
        config = self._changed(config)
        standing = self._standing(config)
        with self._session("train", config, standing=standing) as (lease, dispatcher):
            store = dispatcher.store
            problem = self.problem_of(store.search(self.name))
            forget_teacher()  # its files may be gone, or others, since this process began the search
            check_teachers(problem.retraining_context, self.teacher)
            measured = teacher_on_test(problem, self.teacher)  # before hours of training, for it may not be found
            of_winners = [self.trial(family.trial) for family in ranked[: problem.config.final.families]]
            recorded = reference_records(store, lease.search_id)
            references = references_to_retrain(recorded, problem.config.references, best.trial)
            dispatcher.on_change = lambda: self.reporter.trained(trainings(problem, store, lease.search_id))
            problem = with_full_length(problem, store, lease, [*of_winners, *references], dispatcher.prepare)
            if problem.full_length:
                self.reporter.notify(f"full length: {problem.full_length.describe(problem.config.final.epochs)}")
            store.set_status(lease, "running", {"stored_images": stored_images(problem, has_final=True) or 0})
            winning = [record.trial for record in of_winners]
            Retraining(store, lease, problem, dispatcher, winning, references, within).run()
            store.set_status(lease, standing, measured)
            ids = {trial.id for trial in winning}
            students = [each for each in trained_students(problem, store, lease.search_id, ids) if each.is_final]
            return as_asked_for(problem, store, lease.search_id, students)

    def export(
        self,
        folder: str | Path,
        student: TrainedStudent | None = None,
        fold: bool = True,
        force: bool = False,
        card: Card | None = None,
    ) -> Verification:
        """Write a student as a plain PyTorch module, reload it in a fresh interpreter, and compare.

        Args:
            folder: Folder to write; an earlier export of this search is replaced.
            student: Which one; by default the best.
            fold: Whether to fold batch norm into the convolutions, which makes inference faster; without it the module
                is as it was trained, to be trained on.
            force: Whether the export of another search, or one whose files were changed, may be replaced.
            card: Model card that makes the folder a repository on the Hugging Face hub, for `upload`.

        Raises:
            InputError: If there is no trained student, or the folder holds something else or cannot be written.
            AutoKDError: If the reloaded student computes something else.
        """
        row = self.row
        check_replaceable(Path(folder), origin(row), force)  # before data are loaded
        student = student or self.best
        evidence = describe_references(self.references, self.compare(student)) | {"search_cost": self.search_cost}
        return write_folder(describe_export(self.problem, row, student, evidence, fold, card), Path(folder), force)

    def way_on(self, verb: str, options: str = "", arguments: str = "") -> str:
        """What to call to go on with the search: the command line, or Python where its teacher was given as an object.

        Args:
            verb: What it is to do: "resume" or "train".
            options: Further options of the command line.
            arguments: The same as arguments of the method.
        """
        if self.config.teacher.source is None:
            return self._call(verb, True, arguments)
        return f"{self.command(verb)}{options}"

    def with_reporter(self, reporter: Reporter) -> "SearchResult":
        """The same search with another listener."""
        return replace(self, reporter=reporter)

    @contextmanager
    def interruptible(self, verb: str) -> Iterator[None]:
        """A block that leaves a search with which `verb` goes on if it is interrupted, a disk or a URL fails."""
        try:
            yield
        except KeyboardInterrupt:
            message = f"search {self.name!r} was interrupted; `{self._again(verb)}` goes on."
            raise InterruptedSearchError(message) from None
        except (DiskFullError, DepotError, EngineLost) as error:
            message = f"search {self.name!r} was interrupted: {first_line(error)}; `{self._again(verb)}` goes on."
            raise InterruptedSearchError(message) from None

    def _changed(self, config: SearchConfig | None) -> SearchConfig:
        """The configuration from now on, checked."""
        return self.config if config is None else checked_copy(config)

    def _standing(self, config: SearchConfig) -> SearchStatus:
        """How the search stands with this configuration, whatever becomes of trainings at full length.

        It is finished or, if it is not or may have more trials now, to be resumed.
        """
        progress, before = self.progress, self.config
        more_trials = config.trials > before.trials
        more_time = (config.seconds or math.inf) > (before.seconds or math.inf)
        if more_trials if progress.finished >= before.trials else more_time:  # what it had ended by
            return "interrupted"
        is_over = progress.status == "finished" or (not progress.running and progress.share_done >= 1)
        return "finished" if is_over or self._is_enough else "interrupted"

    def _again(self, verb: str) -> str:
        """The call of this session: the command line, or the Python where it has the teacher as an object, or trains.

        Unlike `way_on` it reads nothing: the database may be gone.
        """
        if self.teacher is None and verb != "asking":
            return self.command(verb)
        return self._call(verb, self.teacher is not None)

    def _call(self, verb: str, needs_teacher: bool, arguments: str = "") -> str:
        """The Python that does this with the search."""
        home = f", home={str(self.home.folder)!r}" if self.home.option else ""
        return f"autokd.find({self.name!r}{home}{', teacher=...' if needs_teacher else ''}).{verb}({arguments})"

    @contextmanager
    def _session(
        self,
        verb: str,
        config: SearchConfig,
        executor: Executor | None = None,
        standing: SearchStatus = "interrupted",
    ) -> Iterator[tuple[Lease, Dispatcher]]:
        leave_if_importing()
        try:
            owned = session(self.home, self.name, self.config, config, self.reporter, executor, standing)
            with self.interruptible(verb), owned as (lease, dispatcher):
                if self.teacher is not None:
                    dispatcher.teacher = self.teacher.to(pick_device(self.row.facts["device"]))
                problem = self.problem
                for line in changed_code(problem.config, problem.facts.sources):
                    self.reporter.notify(line)
                yield lease, dispatcher
        except DatabaseGone as error:
            raise InterruptedSearchError(
                f"search {self.name!r} was interrupted; `{self._again(verb)}` goes on. {error}"
            ) from error
