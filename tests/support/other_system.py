"""Plays macOS or Windows: `python -m tests.support.other_system SYSTEM COMMAND...` is `cuelens COMMAND...` there.

What Python lacks there is taken away, and no file of /proc and /sys can be opened. It does not play how paths,
terminals and libraries behave there.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import sys
import time
from importlib import import_module
from types import SimpleNamespace
from typing import Any

KINDS = ("darwin", "win32")
# By https://docs.python.org/3/library: "Availability: Unix, not macOS" or "Linux" first, then "Unix".
NOT_ON_MACOS = {
    os: ("eventfd", "eventfd_write", "memfd_create", "sched_getaffinity", "sched_setaffinity", "posix_fadvise"),
    signal: ("SIGPWR", "SIGRTMIN", "SIGRTMAX", "sigtimedwait", "sigwaitinfo"),
    socket: ("SOCK_CLOEXEC", "SOCK_NONBLOCK", "AF_NETLINK", "AF_BLUETOOTH"),
    time: ("CLOCK_BOOTTIME", "pthread_getcpuclockid"),
}
NOT_ON_WINDOWS = {
    os: (
        *("uname", "statvfs", "sysconf", "fchmod", "fchown", "pread", "pwrite", "fork", "getuid", "geteuid", "getgid"),
        *("getegid", "getgroups", "killpg", "mkfifo", "nice", "getloadavg", "sync", "register_at_fork", "wait3"),
        *("O_DIRECTORY", "O_NONBLOCK", "O_CLOEXEC", "O_NOFOLLOW", "O_NOCTTY", "O_SYNC", "O_ACCMODE"),
    ),
    signal: (
        *("SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGXCPU", "SIGIO", "SIGPIPE"),
        *("SIGKILL", "SIGXFSZ", "SIGCHLD", "SIGSTOP", "SIGTSTP", "SIGCONT", "SIGBUS", "SIGSYS", "SIGTRAP", "SIGWINCH"),
        *("pthread_sigmask", "pthread_kill", "sigwait", "sigpending", "setitimer", "alarm", "pause", "siginterrupt"),
    ),
    socket: ("AF_UNIX", "socketpair"),
    time: ("clock_gettime", "CLOCK_MONOTONIC", "CLOCK_REALTIME"),
}
MODULES = ("fcntl", "termios", "resource", "grp", "pwd", "pty", "tty", "syslog", "readline", "crypt")
# Imported first, as they look at the system that they are built for.
LIBRARIES = ("ctypes", "subprocess", "tempfile", "selectors", "tqdm", "numpy", "cv2")
RUNTIMES = ("tflite_runtime.interpreter", "ai_edge_litert.interpreter")


def play(system: str) -> None:
    """Make this process one of `system`, as far as that goes."""
    for name in LIBRARIES:
        import_module(name)
    for name in RUNTIMES:
        try:
            import_module(name)
        except ImportError:
            continue
    absent = NOT_ON_MACOS if system == "darwin" else NOT_ON_MACOS | _joined()
    for module, names in absent.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    if system == "win32":
        for name in MODULES:
            sys.modules[name] = None  # type: ignore[assignment]
        _refuse_folders()
        shutil.disk_usage = _disk_usage  # which asks Windows itself there
    _hide_libc()
    sys.addaudithook(_refuse_kernel_files)
    sys.platform = system


def _joined() -> dict[Any, tuple[str, ...]]:
    return {module: (*NOT_ON_MACOS.get(module, ()), *names) for module, names in NOT_ON_WINDOWS.items()}


def _refuse_folders() -> None:
    """Have os.open() take no folder."""
    really_open = os.open

    def open_file(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        if os.path.isdir(path):  # noqa: PTH112 - what Path itself would ask
            raise PermissionError(13, "Permission denied", path)
        return really_open(path, flags, mode, **more)

    os.open = open_file


def _disk_usage(path: Any, statvfs: Any = os.statvfs) -> Any:
    found = statvfs(path)
    return SimpleNamespace(free=found.f_bavail * found.f_frsize)


def _hide_libc() -> None:
    """Have ctypes open no library without a name, nor what Linux' C library has."""

    class Absent(ctypes.CDLL):
        def __init__(self, name: str | None, *more: Any, **options: Any) -> None:
            if name is None:
                raise TypeError("bad argument type for built-in operation")  # as on Windows
            super().__init__(name, *more, **options)

    ctypes.CDLL = Absent  # type: ignore[misc]


def _refuse_kernel_files(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and str(arguments[0]).startswith(("/proc", "/sys")):
        raise FileNotFoundError(2, "No such file or directory", arguments[0])


def main() -> None:
    """Play the system that is the first argument, and run the rest."""
    _, system, *words = sys.argv
    play(system)
    sys.argv = ["cuelens", *words]
    import_module("edge.cli").main()


if __name__ == "__main__":
    main()
