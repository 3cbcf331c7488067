"""Training of one network. Start with `loop.train`.

`schedules` and `timetable` set the learning rate, and `width_scaling` adapts it to layers' widths. `averaged_weights`
keeps a moving average of the weights, `checkpoint` saves and restores a training, `best_checkpoint` compares epochs,
`selection` keeps the best weights, and `metrics` evaluates the result.
"""
