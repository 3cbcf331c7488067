"""The one format of a network: layers, operations, cost, execution order."""
