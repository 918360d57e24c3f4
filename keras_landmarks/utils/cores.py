"""How many processor cores this process may use."""

import math
import os
import re
from collections.abc import Callable
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


def usable() -> int:
    """Returns the number of cores that the process may use, at least 1.

    That is the fewest of what the machine has, the process's affinity, the quotas of its cgroups (a
    container's limit) and, in a Slurm job, Slurm's share.
    """
    limits = [os.cpu_count() or 1, *_quotas(), *_slurm_share()]
    if hasattr(os, "sched_getaffinity"):  # Linux
        limits.append(len(os.sched_getaffinity(0)))
    return max(1, min(limits))


def _slurm_share() -> list[int]:
    """Returns the cores of this task of a Slurm job; nothing outside of one."""
    cores = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if cores.isdecimal():
        return [int(cores)]
    cores = os.environ.get("SLURM_CPUS_ON_NODE", "")
    # "4", "2(x3)", "3,2": of each machine; the tasks on a machine share its cores.
    tasks = re.match(r"[1-9]\d*", os.environ.get("SLURM_STEP_TASKS_PER_NODE", "1"))
    return [int(cores) // int(tasks[0])] if cores.isdecimal() and tasks else []


def _quotas() -> list[int]:
    """Returns the cores that the cgroups of this process, and those around them, are allowed."""
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
    """Reads the limits of a cgroup and of all that it lies in.

    In a container the path may be the one that the host sees; the mount is then the container's.
    """
    group = mount / path.lstrip("/")
    quotas = []
    for folder in [group, *group.parents]:
        try:
            quota, period = read(folder)
            quotas.append(math.ceil(int(quota) / int(period)))
        except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max": no limit
            pass
        if folder == mount:
            break
    return [quota for quota in quotas if quota > 0]


def _quota_v2(folder: Path) -> list[str]:
    return (folder / "cpu.max").read_text().split()


def _quota_v1(folder: Path) -> list[str]:
    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    return [(folder / name).read_text() for name in names]
