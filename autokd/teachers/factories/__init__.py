"""Factories of teachers: functions of the user, and the model collections that are known by name."""
