"""Methods by which a student learns from several teachers, one file each. Start with `base` and `takd`."""
