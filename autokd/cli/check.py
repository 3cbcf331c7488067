"""The verb `check`: what a search would begin with, and what its budget allows, before there is one."""

from dataclasses import asdict
from typing import Any

from autokd.cli.output import Output, show_json
from autokd.cli.reporting import reporter
from autokd.config.schema import SearchConfig
from autokd.searches.api import Checked
from autokd.searches.api import check as check_search
from autokd.searches.workspace import Workspace

__all__ = ["TEACHERS_OWN", "check"]

TEACHERS_OWN = {"budget": {"of_teacher": {"params": 1.0}}}
"""The budget of a search that has none yet: students are as large as their teacher."""


def check(config: SearchConfig, home: Workspace, output: Output) -> None:
    """Check a search, and print what was found of data, teacher and device, and what its spaces offer.

    Args:
        config: The search.
        home: Where it would be recorded.
        output: What to print: text or one JSON value.
    """
    with reporter(to_stderr=output == "json") as shown:
        checked = check_search(config, home, reporter=shown)
    if output == "json":
        show_json(_plain(checked))


def _plain(checked: Checked) -> dict[str, Any]:
    facts = checked.problem.facts
    return {
        "input_shape": facts.input_shape,
        "classes": facts.classes,
        "samples": facts.samples,
        "teacher": {"accuracy": facts.teacher_metrics["accuracy"], **facts.teacher_cost.limits},
        "device": facts.device,
        "precision": facts.precision,
        "images_per_second": facts.images_per_second,
        "rungs": checked.problem.rungs,
        "budget": checked.problem.budget.to_dict(),
        "offers": [{**asdict(offer), "satisfiable": offer.satisfiable} for offer in checked.offers],
    }
