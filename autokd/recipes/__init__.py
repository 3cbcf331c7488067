"""Recipes: ready-made searches, each a TOML file with the weights of its teacher.

`catalogue.py` finds them by name. `teachers.py` defines their teachers and `train_teacher.py` trains them;
`runnable.py` tells which recipe can run on this machine.
"""
