"""Tokens: who may do what. Only their digests are kept, so a token can be shown once, when it is made.

A token has 256 random bits, which nobody can guess or try out, so a plain SHA-256 of it is as safe as a slow hash.
"""

import fcntl
import functools
import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from autokd.core.files import write_json
from autokd.errors import InputError

__all__ = ["Caller", "Role", "Tokens"]

Role = Literal["read", "run", "admin"]
"""What a token allows: to read; to begin, stop and export searches, too; to delete them and to read the audit, too."""

_ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class Caller:
    """Who calls.

    Attributes:
        name: The first digits of the token's digest, by which the audit names it.
        role: What the token allows.
    """

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether the token allows what this role does."""
        return _ROLES.index(self.role) >= _ROLES.index(role)


@dataclass(frozen=True)
class _Entry:
    digest: str
    role: Role
    made_at: str


@dataclass(frozen=True)
class Tokens:
    """The tokens of a service. Each call looks whether the file is another, so what is forgotten is void at once.

    Attributes:
        file: Where their digests are.
    """

    file: Path

    @property
    def exist(self) -> bool:
        """Whether there is any."""
        return bool(self._entries)

    def make(self, role: Role) -> str:
        """A new token of this role, which is shown here only.

        Raises:
            InputError: If the file cannot be written.
        """
        token = f"autokd_{secrets.token_urlsafe(32)}"
        entry = _Entry(_digest(token), role, datetime.now(UTC).isoformat(timespec="seconds"))
        with self._changing():
            write_json(self.file, [asdict(each) for each in (*self._entries, entry)])
        return token

    def forget(self) -> int:
        """Make all tokens void, and return how many that were.

        Raises:
            InputError: If the file cannot be removed.
        """
        if not self.file.parent.exists():
            return 0
        with self._changing():
            n = len(self._entries)
            self.file.unlink(missing_ok=True)
        return n

    def caller(self, token: str) -> Caller | None:
        """Who calls with a token; None if it is not one of these."""
        digest = _digest(token)  # of the token, so how long a comparison takes tells nothing about it
        found = (entry for entry in self._entries if secrets.compare_digest(entry.digest, digest))
        return next((Caller(entry.digest[:8], entry.role) for entry in found), None)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """A block in which no other process or thread changes the file."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.with_suffix(".lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise InputError(f"the tokens in {self.file} cannot be changed: {error.strerror}.") from None

    @property
    def _entries(self) -> tuple[_Entry, ...]:
        try:
            now = self.file.stat()
            return _read(self.file, (now.st_ino, now.st_mtime_ns, now.st_size))
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"the tokens in {self.file} cannot be read ({error}): remove it, and make new ones."
            ) from None


@functools.lru_cache(maxsize=8)
def _read(file: Path, stamp: tuple[int, ...]) -> tuple[_Entry, ...]:
    """The entries of a file, which are the same as long as its stamp is."""
    return tuple(_Entry(**each) for each in json.loads(file.read_text()))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()
