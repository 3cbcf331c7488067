"""An export as one file to carry: a zip."""

from pathlib import Path
from zipfile import ZipFile, ZipInfo

from autokd.core.files import write_atomically
from autokd.export.manifest import MANIFEST, read_manifest

__all__ = ["write_archive"]


def write_archive(folder: Path, file: Path) -> None:
    """Write the files of an export as a zip, in which they are in a folder of the export's name.

    The same export gives the same bytes: there are no times in it, and weights are not compressed, which would gain
    next to nothing.

    Args:
        folder: Folder of the export.
        file: The zip; missing folders are created, and a file that is there is replaced.

    Raises:
        InputError: If the folder has no manifest, or one that makes no sense.
        OSError: If a file cannot be read or written.
        DiskFullError: If the disk is full.
    """
    names = sorted((MANIFEST, *read_manifest(folder).files))

    def write(path: Path) -> None:
        with ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(_entry(f"{folder.name}/{name}"), (folder / name).read_bytes())

    write_atomically(file, write)


def _entry(name: str) -> ZipInfo:
    entry = ZipInfo(name)  # of 1980, the oldest time that a zip can have
    entry.external_attr = 0o644 << 16
    return entry
