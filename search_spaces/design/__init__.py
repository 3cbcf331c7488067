"""What a search space is made of: dimensions, blueprints, widths within a budget."""
