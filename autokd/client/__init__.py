"""The HTTP service from Python on another machine: `Client` has a method for each of its routes.

`generated` holds what `make client` makes of the service's OpenAPI document: the types and the calls. It needs neither
torch nor the rest of the package.
"""

from autokd.client.client import Client, ServiceError
from autokd.client.generated import types

__all__ = ["Client", "ServiceError", "types"]
