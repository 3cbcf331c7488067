"""Searches in the trackers that people look at: MLflow and TensorBoard, fed from the events of the database.

`tracker` is what a tracker must do, `mlflow` and `tensorboard` are two, and `following` feeds them while a search runs.
"""
