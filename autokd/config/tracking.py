"""The section `[tracking]`."""

from autokd.config.section import Section

__all__ = ["TrackingConfig"]


class TrackingConfig(Section):
    """Where a search can be looked at beside its own database, which stays the truth.

    Attributes:
        mlflow: Tracking URI of MLflow: the address of a server, or "sqlite:///FILE". The search becomes a run of the
            experiment "autokd", or that of the environment variable MLFLOW_EXPERIMENT_NAME, and each trial a run in it.
        tensorboard: Folder of TensorBoard, in which the search becomes a folder with one for each trial.
        wandb: Project of Weights & Biases, "PROJECT" or "ENTITY/PROJECT", in which the search becomes a group with a
            run for each trial; W&B's own settings, such as WANDB_MODE=offline, hold.
    """

    mlflow: str | None = None
    tensorboard: str | None = None
    wandb: str | None = None
