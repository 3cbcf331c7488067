"""The section `[tracking]`."""

from pydantic import BaseModel, ConfigDict

__all__ = ["TrackingConfig"]


class TrackingConfig(BaseModel):
    """Where a search can be looked at beside its own database, which stays the truth.

    Attributes:
        mlflow: Tracking URI of MLflow: the address of a server, or "sqlite:///FILE". The search becomes a run of the
            experiment "autokd", or that of the environment variable MLFLOW_EXPERIMENT_NAME, and each trial a run in it.
        tensorboard: Folder of TensorBoard, in which the search becomes a folder with one for each trial.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mlflow: str | None = None
    tensorboard: str | None = None
