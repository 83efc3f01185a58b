"""What an error of the file system means: its state may pass, or a person must change something."""

from __future__ import annotations

import errno
import shutil

from airflow_provider_mlpipe.exceptions import InvalidInputError, TransientError

_NAMES = (
    # the disk is full, read-only or broken
    *("ENOSPC", "EDQUOT", "EROFS", "EIO", "EREMOTEIO", "ENXIO", "ENODEV"),
    # its server is away
    *("ESTALE", "ENOTCONN", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENOLINK"),
    *("ECONNREFUSED", "ECONNRESET", "ECONNABORTED", "ESHUTDOWN"),
    # something is used up or busy
    *("EAGAIN", "EBUSY", "EINTR", "EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "ENOLCK"),
)
_PASSING = frozenset(getattr(errno, name) for name in _NAMES if hasattr(errno, name))  # not every system has all


def may_pass(error: OSError) -> bool:
    """Whether a retry may succeed. `shutil.copytree` keeps no numbers of its errors, so its error counts as one."""
    return error.errno in _PASSING or isinstance(error, shutil.Error)


def translated(error: OSError, what: str, remedy: str) -> TransientError | InvalidInputError:
    """Return this package's error: `what` failed, and the `remedy` unless a retry may succeed."""
    if may_pass(error):
        return TransientError(f"{what}: {error}. A retry succeeds once the file system works again")
    return InvalidInputError(f"{what}: {error}. {remedy}")
