import pytest

from autokd.training.best_checkpoint import Score


@pytest.mark.parametrize(
    ("new", "beats"),
    [
        (Score(0.91, 9.0, 2.0), True),
        (Score(0.9, 0.4, 2.0), True),
        (Score(0.9, 0.5, 2.0), False),  # the earlier of equals stays
        (Score(0.89, 0.1, 2.0), False),
    ],
)
def test_higher_accuracy_is_better_then_lower_loss(new: Score, beats: bool) -> None:
    assert new.beats(Score(0.9, 0.5, 1.0)) == beats


def test_any_score_beats_none() -> None:
    assert Score(0.0, 99.0, 1.0).beats(None)
