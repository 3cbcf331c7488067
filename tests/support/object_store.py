"""An S3-like server of this machine, moto's, and buckets of it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.request import Request, urlopen

import pytest

__all__ = ["Bucket", "running_store"]

_numbers = count()


@dataclass(frozen=True)
class Bucket:
    """A bucket, and the variables by which a process finds its server and may use it."""

    name: str
    variables: dict[str, str]

    @classmethod
    def new(cls, address: str) -> "Bucket":
        """An empty one."""
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
        bucket = cls(f"bucket{next(_numbers)}", keys | {"AWS_ENDPOINT_URL": address})
        bucket._files.mkdir(bucket.name)
        return bucket

    @property
    def url(self) -> str:
        """A folder in it."""
        return f"s3://{self.name}/autokd"

    @property
    def names(self) -> list[str]:
        """Everything in the folder."""
        return [name.removeprefix(f"{self.name}/autokd/") for name in self._files.find(self.name)]

    def remove(self) -> None:
        """Remove it, with everything in it."""
        self._files.rm(self.name, recursive=True)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """A block in which the server asks who one is, and knows nobody."""
        self._ask_after("0")
        try:
            yield
        finally:
            self._ask_after("inf")

    def _ask_after(self, n: str) -> None:
        """Let the server look at nobody's keys before so many requests."""
        address = f"{self.variables['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
        urlopen(Request(address, n.encode(), {"Content-Type": "text/plain"}, method="POST")).close()

    @property
    def _files(self) -> Any:
        from s3fs import S3FileSystem

        return S3FileSystem(
            key="key",
            secret="secret",
            endpoint_url=self.variables["AWS_ENDPOINT_URL"],
            use_listings_cache=False,
            skip_instance_cache=True,
        )


@contextmanager
def running_store() -> Iterator[str]:
    """Address of a new server, gone afterwards; skips the test where it is not installed."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'autokd[s3]'")
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
