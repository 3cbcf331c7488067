"""Ready-made searches: a TOML file each, with the teacher that it learns from."""
