"""The number of processor cores that this process may use."""

import math
import os
import re
from collections.abc import Callable
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


def usable() -> int:
    """Returns the number of cores that the process may use, at least 1.

    It is the smallest of the machine's cores, the process's affinity, the quotas of its cgroups (a
    container's limit) and, in a Slurm job, the task's share. Python knows only the first two.
    """
    limits = [os.cpu_count() or 1, *_quotas(), *_slurm_share()]
    if hasattr(os, "sched_getaffinity"):  # Linux
        limits.append(len(os.sched_getaffinity(0)))
    return max(1, min(limits))


def _slurm_share() -> list[int]:
    """Returns the cores of this task of a Slurm job, in a list that is empty outside of one."""
    cores = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if cores.isdecimal():
        return [int(cores)]
    cores = os.environ.get("SLURM_CPUS_ON_NODE", "")
    # Tasks on each machine, as "4", "2(x3)" or "3,2". They share the machine's cores.
    tasks = re.match(r"[1-9]\d*", os.environ.get("SLURM_STEP_TASKS_PER_NODE", "1"))
    return [int(cores) // int(tasks[0])] if cores.isdecimal() and tasks else []


def _quotas() -> list[int]:
    """Returns the limits, in cores, of this process's cgroups and of all cgroups around them."""
    try:
        lines = _OWN_CGROUPS.read_text().splitlines()
    except OSError:
        return []
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            quotas += _quotas_along(_CGROUPS, path, _quota_v2)
        elif "cpu" in controllers.split(","):
            for mount in (controllers, "cpu"):
                quotas += _quotas_along(_CGROUPS / mount, path, _quota_v1)
    return quotas


def _quotas_along(mount: Path, path: str, read: Callable[[Path], list[str]]) -> list[int]:
    """Returns the limits, in cores, of a cgroup and of the cgroups around it.

    Args:
        mount: folder of the cgroups.
        path: of the cgroup. In a container it may be the host's path; then only the mount itself,
            which is the container's cgroup, has the files.
        read: returns quota and period from a cgroup's folder.
    """
    group = mount / path.lstrip("/")
    quotas = []
    for folder in [group, *group.parents]:
        try:
            quota, period = read(folder)
            quotas.append(math.ceil(int(quota) / int(period)))
        except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max" for no limit
            pass
        if folder == mount:
            break
    return [quota for quota in quotas if quota > 0]


def _quota_v2(folder: Path) -> list[str]:
    return (folder / "cpu.max").read_text().split()


def _quota_v1(folder: Path) -> list[str]:
    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    return [(folder / name).read_text() for name in names]
