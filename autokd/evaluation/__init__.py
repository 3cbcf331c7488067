"""All that a worker loads: the task, its evaluation, and the teacher outputs that it reads."""
