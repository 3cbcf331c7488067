"""What a recorded search tells beyond its best student: rung correlations, fronts, plots, reports."""
