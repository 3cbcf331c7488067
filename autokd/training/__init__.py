"""Training one network: loop, schedule, checkpoints, metrics."""
