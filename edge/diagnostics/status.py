"""The status of a running Cuelens over a local socket: whoever connects receives one JSON object."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.backends import require_linux
from edge.errors import NotRunning, SettingsInvalid, SinkUnwritable
from edge.files import sink_error
from edge.system.secrecy import plain_address

if TYPE_CHECKING:
    from edge.runtime.control import Control
    from edge.runtime.metrics import Metrics
    from edge.vision.model import ExpressionModel

SERVICE_SOCKET = Path("/run/cuelens/status.sock")  # of the unit: its RuntimeDirectory
MODE = 0o660  # the service's user and its group: what somebody's face shows is not for every program
LONGEST = 107  # bytes of a socket's address, unix(7)
FRESH = 0.25  # seconds for which an answer is given again: whoever asks all the time costs the loop no more than this
PAUSE = 0.05  # seconds between two answers
SEND_DEADLINE = 0.5  # seconds in which an asker takes its answer
ASK_DEADLINE = 3.0  # seconds
MOST = 1 << 20  # bytes of an answer
STALLED = 5.0  # seconds: the loop says what is to be shown with each frame, and each second without one
NEWEST = 1800  # measurements that latencies are of: a minute at 30 frames a second


class StatusServer:
    """Answers on a thread of its own, to one asker at a time; what an asker sends is not read."""

    def __init__(self, path: Path, gather: Callable[[], Mapping[str, Any]]) -> None:
        """Listen at `path`, in the place of a socket that nobody answers at any more.

        Raises SettingsInvalid for a path too long, SinkUnwritable or DiskFull where none can be made, RuntimeMissing on
        another system than Linux.
        """
        self.path = path
        self._gather = gather
        self._closing = threading.Event()
        require_linux("--status")
        check_address(path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _make_way(path)
            os.fchmod(self._listener.fileno(), 0o600)  # what bind() makes, whatever the umask
            self._listener.bind(str(path))
            path.chmod(MODE)
            self._listener.listen(8)
            self._made = path.stat().st_ino
        except OSError as error:
            self._listener.close()
            raise error if isinstance(error, SinkUnwritable) else sink_error(path, error) from error
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        answer, gathered_at = b"", float("-inf")
        with self._listener:
            while not self._closing.is_set():
                try:
                    asker, _ = self._listener.accept()
                except OSError:
                    if self._closing.wait(PAUSE):  # how close() wakes us
                        return
                    continue
                with asker, contextlib.suppress(OSError):  # one that went away or does not listen
                    if time.monotonic() - gathered_at > FRESH:
                        answer, gathered_at = self._answer(), time.monotonic()
                    asker.settimeout(SEND_DEADLINE)
                    asker.sendall(answer)
                self._closing.wait(PAUSE)

    def _answer(self) -> bytes:
        """Return the status, or, where it cannot be gathered, why: whoever asks next may have more luck."""
        try:
            status = self._gather()
            return json.dumps(status).encode() + b"\n"
        except Exception as error:
            return json.dumps({"error": f"{type(error).__name__}: {error}"}).encode() + b"\n"

    def close(self) -> None:
        """Answer no more, and take the socket away; may be called twice."""
        if self._closing.is_set():
            return
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(SEND_DEADLINE + 1)
        with contextlib.suppress(OSError):
            if self.path.stat().st_ino == self._made:  # not that of a run that took our place
                self.path.unlink()


def check_address(path: Path) -> None:
    """Raise SettingsInvalid for a path that is no socket's address."""
    length = len(os.fsencode(path))
    if length > LONGEST:
        raise SettingsInvalid(f"{path}: {length} bytes; a socket's address holds {LONGEST}: choose a shorter path")


def _make_way(path: Path) -> None:
    """Remove a socket that nobody listens at; raises SinkUnwritable where somebody does, or where it is no socket."""
    if not os.path.lexists(path):
        return
    if not path.is_socket():
        raise SinkUnwritable(f"{path}: is there, and no socket; choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asker:
        asker.settimeout(SEND_DEADLINE)
        try:
            asker.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except TimeoutError:
            pass
    raise SinkUnwritable(f"{path}: another Cuelens answers there; end it, or choose another path")


def gather_status(control: Control, model: ExpressionModel, version: str) -> dict[str, Any]:
    """Return the run as JSON-ready values: seconds, degrees Celsius, MB of 10^6 bytes; None where nothing is known."""
    from edge.hardware.board import peak_rss_mb, rss_mb, swapped_mb, temperature_c, throttled

    now = time.monotonic()
    metrics, held_mb = control.metrics, rss_mb()
    status: dict[str, Any] = {"version": version, "state": "starting", "expression": None, "reason": None}
    if metrics is not None and (cue := metrics.cue) is not None:
        status["cue_age"] = round(now - metrics.shown_at, 2)
        if status["cue_age"] > STALLED:  # this thread lives, and the loop does not: its cue is old
            status["state"] = "stalled"
        else:
            status |= {"state": cue.state, "expression": cue.expression, "reason": cue.reason}
    status |= {
        "paused": control.paused,
        "problems": list(control.problems),
        "source": plain_address(control.settings.source),
        "model": {"name": model.path.name, "sha256": model.contract.sha256},
        "runtime": model.runtime,
        "temperature_c": temperature_c(),
        "throttled": throttled(),
        "memory_mb": {"now": held_mb and round(held_mb, 1), "peak": round(peak_rss_mb(), 1), "swapped": swapped_mb()},
    }
    if metrics is None:
        return status | dict.fromkeys(("uptime", "frames", "inferences", "watchdog", "dropped", "camera_losses"), 0)
    return status | {
        "uptime": round(now - metrics.begun, 1),
        "frames": metrics.frames,
        "frames_with_face": metrics.frames_with_face,
        "inferences": metrics.inferences,
        "watchdog": metrics.watchdog,
        "dropped": metrics.dropped,
        "camera_losses": metrics.camera_losses,
        "pace": metrics.slowing and metrics.slowing.as_json(),
        "camera": {
            "trouble": metrics.camera_trouble,
            "causes": dict(metrics.camera_causes),
            "slowest_notice": round(metrics.slowest_notice, 2),
            "slowest_return": round(metrics.slowest_return, 2),
        },
        "faults": dict(metrics.faults),
        "stalls": metrics.stalls,
        "fps": round(metrics.fps, 1),
        "recent_fps": round(metrics.recent_fps, 1),
        "overturned": metrics.overturned or None,  # what is wrong with the picture, and the setting that puts it right
        "last_frame_age": round(now - metrics.last, 2) if metrics.frames else None,
        "latency_ms": metrics.percentiles(NEWEST),
        "sinks": _gather_sinks(control, metrics),
        "links": {plain_address(name): link.as_values() for name, link in tuple(control.links.items())},
        "cues": dict(metrics.cues),
        "changes": [[round(t - metrics.begun, 2), shown] for t, shown in tuple(metrics.changes)],
    }


def _gather_sinks(control: Control, metrics: Metrics) -> dict[str, Any]:
    from edge.runtime.links import sink_state

    return {
        plain_address(name): {
            "state": sink_state(sink, control.links.get(name))[0],
            "shown": sink.shown,
            "missed": sink.missed,
            "failures": sink.failures,
            "error": sink.error,
            "cause": sink.cause,
        }
        for name, sink in tuple(metrics.sinks.items())
    }


def ask(path: Path) -> dict[str, Any]:
    """Return what the Cuelens that listens at `path` says; raises NotRunning, or SettingsInvalid for no address."""
    check_address(path)
    deadline = time.monotonic() + ASK_DEADLINE
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(ASK_DEADLINE)
            channel.connect(str(path))
            while (left := deadline - time.monotonic()) > 0 and len(answer) < MOST:
                channel.settimeout(left)
                piece = channel.recv(1 << 16)
                if not piece:
                    break
                answer += piece
    except PermissionError as error:
        raise NotRunning(f"{path}: {error.strerror}; it is the service's: ask as root, with sudo") from error
    except OSError as error:
        why = error.strerror or "no answer"
        raise NotRunning(
            f"{path}: {why}; no Cuelens answers there: sudo systemctl start cuelens, or cuelens run --status PATH"
        ) from error
    try:
        status = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise NotRunning(
            f"{path}: {len(answer)} bytes that are no status; restart: systemctl restart cuelens"
        ) from error
    if not isinstance(status, dict):
        raise NotRunning(f"{path}: what answers is no Cuelens; name its socket with --socket PATH")
    return status


def ask_service() -> dict[str, Any] | None:
    """Return the service's status; None where it does not answer us."""
    try:
        return ask(SERVICE_SOCKET)
    except NotRunning:
        return None


def describe_status(status: Mapping[str, Any]) -> str:
    """Return a status in lines for a person, without the keys that another version does not have.

    Raises NotRunning where it is no version's status.
    """
    try:
        return _describe(status)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise NotRunning(
            "the program at that socket is no Cuelens, or another version of it; --json shows its answer"
        ) from error


def _describe(status: Mapping[str, Any]) -> str:
    rows: list[tuple[str, str]] = []

    def row(name: str, text: str, *keys: str) -> None:
        if all(status.get(key) is not None for key in keys):
            rows.append((name, text.format_map(_Known(status))))

    row("status", "cannot be gathered: {error}; journalctl -u cuelens may say more", "error")
    row("cuelens", "{version}, running for {uptime} s", "version", "uptime")
    cue = status.get("expression") or status.get("state")
    why = f"for {status.get('cue_age')} s" if cue == "stalled" else status.get("reason")
    row("cue", f"{cue}" + (f" ({why})" if why else ""), "state")
    rows.extend(("problem", problem) for problem in status.get("problems") or ())
    row("source", "{source}", "source")
    row("frames", "{frames}, {dropped} dropped; {recent_fps} a second now, {fps} on the whole", "frames", "fps")
    if pace := status.get("pace"):
        why = f": {', '.join(pace['why'])}" if pace["why"] else ""
        rows.append(("pace", f"step {pace['step']} of {pace['steps']}{why}" if pace["step"] else "full"))
    if status.get("camera_losses"):
        camera = status.get("camera") or {}
        causes = ", ".join(f"{cause} {times}x" for cause, times in (camera.get("causes") or {}).items())
        now = f"; now: {camera['trouble']}" if camera.get("trouble") else ""
        row("camera", "lost {camera_losses} times" + (f" ({causes})" if causes else "") + now, "camera_losses")
    if faults := status.get("faults"):
        rows.append(("failed", ", ".join(f"{name} {times}x" for name, times in faults.items())))
    if status.get("stalls"):
        row("blocked", "{stalls} times", "stalls")
    row("newest frame", "{last_frame_age} s ago", "last_frame_age")
    row("inferences", "{inferences}", "inferences")
    row("watchdog", "fed {watchdog} times", "watchdog")
    for stage, values in (status.get("latency_ms") or {}).items():
        if stage in ("find", "read", "total"):
            rows.append((f"{stage}, ms", ", ".join(f"{name} {value:g}" for name, value in values.items())))
    for name, sink in (status.get("sinks") or {}).items():
        error = f", {sink['failures']} failures: {sink['error']}" if sink.get("failures") else ""
        rows.append((f"sink {name}", f"{sink['state']}, {sink['shown']} shown, {sink['missed']} missed{error}"))
    for name, link in (status.get("links") or {}).items():
        battery = f", battery {link['battery']} %" if link.get("battery") is not None else ""
        why = f": {link['error']}" if link.get("error") else ""
        rows.append((f"link {name}", f"{link['name']} {link['state']}{battery}, lost {link['losses']} times{why}"))
    if model := status.get("model"):
        rows.append(("model", f"{model['name']} {model['sha256'][:12]}, {status.get('runtime')}"))
    row("temperature", "{temperature_c:.0f} degrees Celsius", "temperature_c")
    row("throttled", "{throttled}", "throttled")
    if memory := status.get("memory_mb"):
        swapped = f", {memory['swapped']:.1f} MB of it swapped out" if memory.get("swapped") else ""
        rows.append(("memory", f"{memory['now']} MB, {memory['peak']} MB at most{swapped}"))
    wide = max(len(name) for name, _ in rows) if rows else 0
    return "\n".join(f"{name:{wide}}  {text}" for name, text in rows)


class _Known(dict[str, Any]):
    """A table in which what is not there is a question mark."""

    def __missing__(self, key: str) -> str:
        return "?"


def own_version() -> str:
    """Return the version of the release that this process was started from, or of the package."""
    release = Path(sys.prefix).resolve().parent  # as the installer lays it out: releases/VERSION/venv
    if release.parent.name == "releases":
        return release.name
    from importlib.metadata import PackageNotFoundError, version  # 5 MB that a release does without

    try:
        return version("cuelens")
    except PackageNotFoundError:
        return "unknown"


def default_socket() -> Path | None:
    """Return where systemd wants a service's socket, None where it did not start us."""
    folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]  # systemd.exec(5)
    return Path(folder) / "status.sock" if folder else None
