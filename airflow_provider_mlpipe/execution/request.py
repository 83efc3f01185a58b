"""The request for an executor process: its files, import path and environment, and what a fork cannot change later."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_mlpipe.caching.environment import LIBRARY_DEFAULTS

# Environment variables for libraries, unless the user has set them.
_DEFAULTS = {
    # One pinned Keras: importing tensorflow_transform first would otherwise turn tf.keras into the legacy one.
    "TF_USE_LEGACY_KERAS": LIBRARY_DEFAULTS["TF_USE_LEGACY_KERAS"],
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
# Prefixes of the variables that Python and libraries read only once, at start or import. Other variables are read when
# they are needed, or by the user's code.
_READ_ONCE = (
    "ABSL_", "ARROW_", "AUTOGRAPH_", "BLIS_", "CUDA_", "CUDNN_", "GLOG_", "GOMP_", "GOTO_", "GRPC_", "HIP_", "HOME",
    "KERAS_", "KMP_", "LANG", "LC_", "LD_", "MALLOC_", "MKL_", "MPLCONFIGDIR", "NCCL_", "NPY_", "NUMEXPR_", "NUMPY_",
    "NVIDIA_", "OMP_", "ONEDNN_", "OPENBLAS_", "PROTOCOL_BUFFERS_", "PYTHON", "ROCM_", "ROCR_", "TF_", "TF2_", "TPU_",
    "VECLIB_", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XLA_",
)  # fmt: skip
_OF_THE_SYSTEM = frozenset({"LOGNAME", "PATH", "TEMP", "TMP", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV"})


@dataclass(frozen=True, kw_only=True)
class ExecutorRequest:
    """The files of the invocation and of its answer, and the import path and environment of the process to run it."""

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
        "PYTHONSAFEPATH": "1",  # without the worker's current folder: a random.py there would replace Python's own
    }


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """What a process needs that outlives the task which starts it: not the connections and keys of others."""
    return {name: value for name, value in environment.items() if name in _OF_THE_SYSTEM or name.startswith(_READ_ONCE)}


def born_with(environment: Mapping[str, str]) -> dict[str, str]:
    """What cannot be changed in a fork, by name: variables that are read once, and inherited properties of a process.

    Linux only.
    """
    return {
        **{name: value for name, value in environment.items() if name.startswith(_READ_ONCE) and name != "PYTHONPATH"},
        **{
            name: str(resource.getrlimit(getattr(resource, name)))
            for name in dir(resource)
            if name.startswith("RLIMIT_")
        },
        "groups": f"{os.getegid()} {sorted(os.getgroups())}",
        "processors": str(sorted(os.sched_getaffinity(0))),
        "niceness": str(os.nice(0)),
        "control group": Path("/proc/self/cgroup").read_text(),
    }
