"""One search from its configuration to its result: proposals, trials, controller, retraining."""
