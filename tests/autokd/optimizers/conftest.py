"""Property tests here may take as long as the machine needs: no test asserts a wall-clock time."""

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
