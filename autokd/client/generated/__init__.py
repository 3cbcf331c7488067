"""What `make client` generates from the service's OpenAPI document; not to be edited."""
