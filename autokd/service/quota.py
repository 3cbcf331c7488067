"""The disk that a service may fill."""

from autokd.core.disk import size_text
from autokd.errors import DiskFullError
from autokd.searches.deletion import bytes_in
from autokd.service.settings import Settings

__all__ = ["check_quota"]


def check_quota(settings: Settings) -> None:
    """Check that the files of the workspace are within the service's quota.

    Raises:
        DiskFullError: If they are not.
    """
    quota = settings.quota_bytes
    if quota is not None and (used := bytes_in(settings.home.folder)) > quota:
        raise DiskFullError(
            f"the searches fill {size_text(used)}, but the quota is {size_text(quota)}: delete some, or run "
            "`autokd gc`."
        )
