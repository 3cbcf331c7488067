"""What a `search.toml` may say: the schema, its reader, and compatibility with older records."""
