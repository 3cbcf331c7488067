from dataclasses import replace
from pathlib import Path

import hand_drawn
import plan
import pytest
from plan import KNOWN, Job, jobs, settings_of
from protocol import ARMS, LONGER, PROTOCOLS, Study, digest
from records import Record, Run
from trainings import Training
from workbench import Workbench

from search_spaces.errors import SpaceError

Records = dict[Run, Record]


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench("tiny", PROTOCOLS["tiny"], tmp_path)


def done(job: Job, validation: float) -> tuple[Run, Record]:
    return job.run, Record(job.run, {"validation": validation})


def ready(planned: list[Job]) -> list[str]:
    return [job.run.variant for job in planned if job.perform is not None]


def test_lines_that_were_measured_before_keep_their_digests() -> None:
    assert digest(PROTOCOLS["F"], ARMS["A"]) == "9c899aaca94a"
    assert digest(PROTOCOLS["D"], ARMS["C2"]) == "e52d10fdfa2f"


def test_settings_are_known_of_all_runs_and_of_no_others(bench: Workbench) -> None:
    planned = [job for job in jobs(replace(bench, name="T"), KNOWN, [0], {}) if "(" not in job.run.variant]
    assert {job.run.arm for job in planned} >= {*KNOWN} - {"H", "V", *LONGER}
    assert all(job.run.settings == settings_of(bench.protocol, job.run.arm, job.run.variant) for job in planned)
    unknown = (("mine", ""), ("H", "gone/kd"), ("H", "convnext/gone"), ("H-tune", "(0)"))
    assert [settings_of(bench.protocol, *each) for each in unknown] == [None] * 4


def test_the_ranges_of_the_paper_are_searched_on_one_seed(bench: Workbench) -> None:
    assert [job.run.seed for job in jobs(bench, ["A-paper"], range(5), {})] == [0]
    assert [job.run.seed for job in jobs(bench, ["A"], range(5), {})] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["families", "draws"])
def test_studies_are_of_the_first_seed_whichever_a_machine_is_asked_for(bench: Workbench, name: str) -> None:
    first, others = (jobs(bench, [name], seeds, {}) for seeds in (range(3), range(3, 5)))
    assert [job.run for job in first] == [job.run for job in others]
    assert {job.run.seed for job in first} == {0}


def test_no_more_families_are_studied_than_were_found(bench: Workbench) -> None:
    (job,) = jobs(bench, ["A"], [0], {})
    found = {"families": [{"family": {}}, {"family": {}}]}
    records = {job.run: Record(job.run, {"validation": 0.9}, found=found)}
    wide = replace(bench, protocol=replace(bench.protocol, study=Study(best=4, random=1, draws=2, top=5)))
    assert ready(jobs(wide, ["top"], [0], records)) == ["family-0", "family-1"]
    names = ["best-0/0", "best-0/1", "best-1/0", "best-1/1", "random-0/0", "random-0/1"]
    assert ready(jobs(wide, ["families"], [0], records)) == names


def test_a_member_of_a_family_that_fits_no_limits_is_a_result(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise SpaceError("too large")

    monkeypatch.setattr(plan, "draw", refuse)
    vars(bench)["teacher"] = {"digest": "teacher"}
    (job,) = jobs(bench, ["A"], [0], {})
    found = {"families": [{"family": {}}], "architecture": {}}
    records = {job.run: Record(job.run, {"validation": 0.9}, found=found)}
    (drawn,) = jobs(bench, ["draws"], [0], records)
    assert drawn.perform is not None
    assert drawn.perform().failure == "SpaceError: too large"


def test_the_family_that_won_need_not_be_listed_first() -> None:
    families = [{"family": {"nodes": nodes}, "architecture": {"nodes": nodes}} for nodes in (3, 4, 5)]
    found = {"families": families, "architecture": {"nodes": 4}}
    assert plan._winning_family(found) == {"nodes": 4}
    assert plan._winning_family(found | {"architecture": {"nodes": 9}}) == {"nodes": 3}


def test_evolution_waits_for_the_median_of_a_and_goes_on_until_it_is_reached(bench: Workbench) -> None:
    of_a: Records = dict(done(job, 0.9) for job in jobs(bench, ["A"], range(3), {}))
    records = dict(list(of_a.items())[:2])
    assert ready(jobs(bench, ["V"], range(3), records)) == []
    records = of_a
    for times, validation in enumerate((0.8, 0.85, 0.9), 1):
        (job,) = [job for job in jobs(bench, ["V"], [0], records) if job.perform and job.run not in records]
        assert job.run.variant == f"{times}x"
        records |= dict([done(job, validation)])
    assert {job.run for job in jobs(bench, ["V"], [0], records)} <= records.keys()


def test_hand_designed_students_are_screened_then_tuned_then_trained_in_full(bench: Workbench) -> None:
    screens = [job for job in jobs(bench, ["H"], [0], {}) if job.run.arm == "H-screen"]
    assert len(screens) == len(hand_drawn.pairs())
    records: Records = dict(done(job, 0.5) for job in screens[1:])
    assert not [variant for variant in ready(jobs(bench, ["H"], [0], records)) if "#" in variant]
    records |= dict([done(screens[0], 0.9)])
    tunes = [job for job in jobs(bench, ["H"], [0], records) if job.run.arm == "H-tune"]
    assert all(job.perform for job in tunes)
    records |= dict(done(job, 0.6) for job in tunes)
    finalists = [job for job in jobs(bench, ["H"], [0, 1], records) if job.run.arm == "H"]
    assert [(job.run.variant, job.run.seed) for job in finalists] == [(screens[0].run.variant, seed) for seed in (0, 1)]


def test_networks_with_which_searches_begin_are_trained_in_full_and_tested(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Training] = []
    monkeypatch.setattr(plan, "train", lambda bench, run, training: trained.append(training))
    planned = jobs(bench, ["S"], [0, 1], {})
    by_kd = ["resnet-1-1-1-1/kd", "resnet-3-3-3/kd", "deep-early/kd", "slim-copy/kd"]
    assert ready(planned) == 2 * [*by_kd, *(f"slim-copy/{method}" for method in hand_drawn.LEADING)]
    for job in planned[:3]:
        job.perform()
    assert {(training.epochs, training.tested) for training in trained} == {(bench.protocol.final, True)}
    depths = [sum(name.endswith("_sum") for name in training.architecture.names) for training in trained]
    assert depths == [4, 9, 8]


def test_methods_are_ranked_at_the_lengths_of_rungs_and_in_full_by_one_student(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Training] = []
    monkeypatch.setattr(plan, "train", lambda bench, run, training: trained.append(training))
    longer = replace(bench, protocol=replace(bench.protocol, final=1))
    planned = jobs(longer, ["methods"], [0], {})
    for job in planned:
        job.perform()
    lengths, n_methods = (*bench.protocol.rungs, 1), len(hand_drawn.RANKED)
    assert [training.epochs for training in trained] == [length for length in lengths for _ in range(n_methods)]
    assert [training.tested for training in trained] == [False] * 2 * n_methods + [True] * n_methods
    assert {training.architecture.digest for training in trained} == {trained[0].architecture.digest}
    assert len({job.run for job in planned}) == len({job.run.settings for job in planned}) == len(planned)


@pytest.mark.parametrize(
    ("name", "description", "inherits"),
    [
        ("L", "like-teacher: teacher at 1", False),
        ("L+w", "like-teacher: teacher at 1", True),
        ("L+w", "nago: 3", False),
    ],
)
def test_what_a_search_found_is_trained_longer_from_the_first_weights_that_it_had(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, name: str, description: str, inherits: bool
) -> None:
    trained: list[Training] = []
    monkeypatch.setattr(plan, "train", lambda bench, run, training: trained.append(training))
    long = replace(bench, protocol=replace(bench.protocol, long=100))
    (search,) = jobs(long, [LONGER[name]], [0], {})
    architecture = plan.draw(bench, hand_drawn.STARTS["resnet-3-3-3"], {}, "test")
    found = {"architecture": architecture.to_dict(), "description": description, "distillation": {"weight": 1.0}}
    assert [job.waits_for for job in jobs(long, [name], [0], {})] == [f"arm {LONGER[name]}, seed 0"]
    (job,) = jobs(long, [name], [0], {search.run: Record(search.run, {"validation": 0.9}, found=found)})
    job.perform()
    assert trained == [Training(architecture, "kd", {"weight": 1.0}, 100, from_teacher=inherits)]


def test_stems_are_an_arm_s_own_matter_where_images_are_large(bench: Workbench) -> None:
    large = replace(bench, name="T")
    small_starts, large_starts = (ready(jobs(each, ["S"], [0], {})) for each in (bench, large))
    strided = [f"{name}-strided/kd" for name in ("resnet-1-1-1-1", "resnet-3-3-3", "deep-early")]
    later = [f"slim-copy/{method}" for method in hand_drawn.LEADING]
    assert small_starts[-len(later) :] == later
    further = [f"deep-early-strided/{method}" for method in ("fitnet", *hand_drawn.LEADING)]
    assert large_starts == [*small_starts[: -len(later)], *strided, "deep-early-narrow/kd", *further]
    assert not jobs(bench, ["A+s", "A+n"], [0], {})
    assert [job.run.arm for job in jobs(large, ["A+s", "A+n"], [0], {})] == ["A+s", "A+n"]


def test_pairs_are_tuned_even_if_most_of_the_best_are_not_distilled(bench: Workbench) -> None:
    screens = [job for job in jobs(bench, ["H"], [0], {}) if job.run.arm == "H-screen"]
    records = dict(done(job, 0.9 if job.run.variant.endswith("/none") else 0.5) for job in screens)
    assert [job.run.arm for job in jobs(bench, ["H"], [0], records) if job.run not in records] == ["H"]


def test_all_samples_are_for_the_product_and_the_best_hand_designed_student(tmp_path: Path) -> None:
    assert PROTOCOLS["F-full"].arms == ("A", "A+", "A+w", "H")
    assert replace(PROTOCOLS["F-full"], arms=()) != PROTOCOLS["F-full"]
    bench = Workbench("F-full", PROTOCOLS["F-full"], tmp_path)
    planned = jobs(bench, PROTOCOLS["F-full"].arms, range(3), {})
    searched = [(arm, seed) for seed in range(3) for arm in ("A", "A+", "A+w")]
    assert [(job.run.arm, job.run.seed) for job in planned] == [*searched, *(("H", seed) for seed in range(3))]
    assert [job.perform is None for job in planned] == [False] * 9 + [True] * 3
    assert set(PROTOCOLS["F-full"].arms) <= set(KNOWN)
