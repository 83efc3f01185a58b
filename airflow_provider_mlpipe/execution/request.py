"""What an executor's process is asked to be: its files, import path and environment, and what it was born with."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Whatever a library finds here, and the user has not said otherwise.
_DEFAULTS = {
    # One pinned Keras: importing tensorflow_transform first would otherwise turn tf.keras into the legacy one.
    "TF_USE_LEGACY_KERAS": "0",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
# Variables that Python and libraries read when they start or are imported, by the beginnings of their names. Others
# are read when they are needed, or belong to the user's code.
_READ_ONCE = (
    "ABSL_", "ARROW_", "AUTOGRAPH_", "BLIS_", "CUDA_", "CUDNN_", "GLOG_", "GOMP_", "GOTO_", "GRPC_", "HIP_", "HOME",
    "KERAS_", "KMP_", "LANG", "LC_", "LD_", "MALLOC_", "MKL_", "MPLCONFIGDIR", "NCCL_", "NPY_", "NUMEXPR_", "NUMPY_",
    "NVIDIA_", "OMP_", "ONEDNN_", "OPENBLAS_", "PROTOCOL_BUFFERS_", "PYTHON", "ROCM_", "ROCR_", "TF_", "TF2_", "TPU_",
    "VECLIB_", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XLA_",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ExecutorRequest:
    """An invocation's file, where its answer goes, and the import path and environment of who runs it."""

    invocation: Path
    answer: Path
    path: Sequence[str]
    environment: Mapping[str, str]


def executor_environment(path: Sequence[str]) -> dict[str, str]:
    """The environment of an executor's interpreter: this process's, with `path` to import from."""
    return {
        **_DEFAULTS,
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "PYTHONUNBUFFERED": "1",
        "PYTHONSAFEPATH": "1",  # not the worker's current folder: a random.py there would be Python's own
    }


def born_with(environment: Mapping[str, str]) -> dict[str, str]:
    """What a fork cannot be given later, by name: variables that are read once, and what processes inherit for good.

    Linux only.
    """
    return {
        **{name: value for name, value in environment.items() if name.startswith(_READ_ONCE) and name != "PYTHONPATH"},
        **{
            name: str(resource.getrlimit(getattr(resource, name)))
            for name in dir(resource)
            if name.startswith("RLIMIT_")
        },
        "its groups": f"{os.getegid()} {sorted(os.getgroups())}",
        "its processors": str(sorted(os.sched_getaffinity(0))),
        "its niceness": str(os.nice(0)),
        "its control group": Path("/proc/self/cgroup").read_text(),
    }
