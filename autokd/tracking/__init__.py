"""Searches in the trackers that people look at: MLflow, TensorBoard and W&B, fed from the events of the database.

`tracker` is what a tracker must do, `mlflow`, `tensorboard` and `wandb` are three, and `following` feeds them while a
search runs.
"""
