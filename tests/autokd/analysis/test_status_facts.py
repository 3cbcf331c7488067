from dataclasses import replace

from autokd.analysis.rung_correlations import RungCorrelation
from autokd.analysis.status_facts import rung_correlation_line


def test_a_rung_correlation_has_its_interval_and_says_where_it_is_of_a_selected_sample() -> None:
    rung_correlation = RungCorrelation(0, 1.0, "loss", 12, 0.6234, 0.2, 0.85)
    line = "loss after 1 epoch: rank correlation 0.62 (90 %: 0.20 to 0.85) with the last rung, 12 trials"
    assert rung_correlation_line(rung_correlation, 0, 12) == line
    assert rung_correlation_line(rung_correlation, 3, 12) == f"{line}; pruned ones are missing, which lowers it"
    assert rung_correlation_line(rung_correlation, 0, 5000) == line.replace("12 trials", "12 of 5000 trials")
    perfect = replace(rung_correlation, rho=1.0, low=None, high=None)
    assert "rank correlation 1.00 with" in rung_correlation_line(perfect, 0, 12)
