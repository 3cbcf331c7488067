"""The section `[workers]`."""

from typing import Annotated

from pydantic import AfterValidator, Field

from autokd.config.numbers import Bytes, Seconds, Threads
from autokd.config.section import Section
from autokd.core.depot import checked_url

__all__ = ["WorkersConfig"]


class WorkersConfig(Section):
    """The processes in which students are trained.

    Attributes:
        engine: "local" for processes on this machine, "inline" for the process of the search itself, or "dask" or "ray"
            for the workers of a cluster.
        address: Address of the cluster, such as "tcp://10.0.0.1:8786" with Dask or "10.0.0.1:6379" with Ray; by default
            one starts on this machine. Its workers must see the folder of searches under the same path, unless `files`
            is given.
        files: URL at which workers that do not see the folder of searches find and leave files, such as
            "s3://bucket/prefix". It holds no password: every machine has its credentials in its environment.
        count: Number of evaluations that run at the same time.
        threads: Number of threads per evaluation.
        seconds: Time limit of an evaluation, in seconds. If it is exceeded, the evaluation is stopped and its trial
            fails.
        memory_bytes: Memory limit of an evaluation, in bytes. If it is exceeded, the evaluation is stopped and its
            trial fails.
        device: "auto" (a GPU if there is one), "cpu", "cuda", ...
    """

    engine: str = "local"
    address: Annotated[str, Field(min_length=1)] | None = None
    files: Annotated[str, AfterValidator(checked_url)] | None = None
    count: Threads = 2
    threads: Threads = 1
    seconds: Seconds | None = None
    memory_bytes: Bytes | None = None
    device: str = "auto"
