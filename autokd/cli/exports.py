"""Output of the verbs that write and verify exported folders."""

from dataclasses import asdict
from pathlib import Path

from autokd.cli.output import Output, show_json, show_text
from autokd.export.verification import Verification
from autokd.searches.comparison import Comparison
from autokd.searches.tables import facts_table, percent

__all__ = ["exported", "pushed", "verified"]


def exported(
    folder: Path, verification: Verification, training: str | None, output: Output, comparison: Comparison | None = None
) -> None:
    """Print the result of an export.

    Args:
        folder: The exported folder.
        verification: Result of verifying it.
        training: What to call for training the student at full length; None if it was.
        output: What to print: text or one JSON value.
        comparison: The student beside the best reference trained as long, if that is to be said.
    """
    if output == "json":
        show_json({"folder": str(folder)} | asdict(verification) | {"comparison": comparison and comparison.to_dict()})
        return
    if training is not None:
        show_text(f"this student is from the search alone: `{training}` trains it at full length")
    verified(folder, verification, output, done="exported")
    if comparison is not None:
        show_text(str(comparison))


def pushed(folder: Path, verification: Verification, training: str | None, output: Output, address: str | None) -> None:
    """Print the result of writing a repository.

    Args:
        folder: The folder.
        verification: Result of verifying it.
        training: What to call for training the student at full length; None if it was.
        output: What to print: text or one JSON value.
        address: Where it was uploaded to; None if it was not.
    """
    if output == "json":
        show_json({"folder": str(folder), "uploaded": address} | asdict(verification))
        return
    exported(folder, verification, training, output)
    show_text(
        f"uploaded to {address}" if address else "not uploaded: read README.md and manifest.json, then add --upload"
    )


def verified(folder: Path, verification: Verification, output: Output, done: str = "verified") -> None:
    """Print the result of verifying an exported folder.

    Args:
        folder: The exported folder.
        verification: Result of verifying it.
        output: What to print: text or one JSON value.
        done: Word in front of the folder's path.
    """
    if output == "json":
        show_json({"folder": str(folder)} | asdict(verification))
        return
    facts = [
        (done, str(folder)),
        ("reloaded", f"without autokd: logits differ by {verification.max_difference:.1e} at most"),
    ]
    if verification.test_accuracy is not None:
        accuracy = percent(verification.test_accuracy)
        facts.append(("test accuracy", accuracy if verification.is_tested else f"{accuracy} (as recorded)"))
    show_text(facts_table(facts))
