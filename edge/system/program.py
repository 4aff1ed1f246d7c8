"""What every console script shares: a failure is one line and the exit code of its kind, with --debug a traceback."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from types import TracebackType
from typing import Any, NoReturn, Protocol

from edge.errors import CuelensError, printable, shorten
from edge.system.messages import Failed, failed, say
from edge.system.streams import prepare_streams

USAGE = "command-line"  # the identifier of a command line that is wrong
Body = Callable[[argparse.ArgumentParser, "list[str] | None"], "int | None"]


class Script(Protocol):
    """A console script; `argv` is for tests."""

    def __call__(self, argv: list[str] | None = None) -> None: ...


class _Ended(BaseException):
    """A signal, raised where it found the program, so that nothing half-written is left behind."""

    def __init__(self, number: int) -> None:
        self.number = number


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Exit with 128 + N on SIGTERM or SIGHUP after what `finally` has to do; a run takes its signals itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def end(number: int, _: object) -> None:
        if os.getpid() != owner:  # a worker: it is its parent's to end
            os._exit(128 + number)
        for other in before:
            signal.signal(other, signal.SIG_IGN)  # the end is under way
        raise _Ended(number)

    numbers = (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))  # Windows has no SIGHUP
    before = {number: signal.getsignal(number) for number in numbers}
    before = {number: handler for number, handler in before.items() if handler is signal.SIG_DFL}
    for number in before:
        signal.signal(number, end)
    try:
        yield
    except _Ended as ended:
        sys.exit(128 + ended.number)
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is end:
                signal.signal(number, handler)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version  # 5 MB that a run does without

        print(f"{parser.prog} {version('cuelens')}")
        parser.exit()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """End as argparse does; what it quotes of the words that were given is spelt out."""
        self.print_usage(sys.stderr)
        say(Failed(f"{self.prog}: error: {message} [{USAGE}]"))
        self.exit(2)


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    import traceback  # only here: a start counts its imports

    for line in "".join(traceback.format_exception(kind, error, trace)).rstrip("\n").split("\n"):
        say(Failed(line))


def _report(program: str, error: CuelensError, words: Iterable[str]) -> None:
    """Print a failure's line, and where JSON was asked for an object with the same."""
    say(failed(error, program=program))
    if "--json" in words and not error.in_json:
        import json  # only here: a start counts its imports

        with suppress(CuelensError, OSError):  # that nobody reads it is not what failed
            print(json.dumps(error.as_values()), flush=True)


def command(body: Body) -> Script:
    """Turn `body(parser, argv)` into a console script that exits with the code of the failure's kind.

    `body` adds its arguments to the parser (which has --debug already), parses and works; what it
    returns is the exit code, None meaning 0. Its docstring is the help's first line.
    """

    @wraps(body)
    def script(argv: list[str] | None = None) -> None:
        prepare_streams()
        parser = _Parser(description=body.__doc__)
        parser.add_argument("--version", action=_Version, nargs=0, help="show the version and end")
        parser.add_argument("--debug", action="store_true", help="show the traceback of a failure")
        words = sys.argv[1:] if argv is None else argv
        try:
            with _ended_in_order():
                code = body(parser, words) or 0
            sys.stdout.flush()
        except CuelensError as error:
            if "--debug" in words:
                sys.excepthook = _print_traceback
                raise
            _report(parser.prog, error, words)
            code = error.exit_code
        except BrokenPipeError:  # the reader of our output went away: `cuelens replay | head`
            code = 128 + 13  # SIGPIPE, also where it has no name
        except Exception as error:
            if "--debug" in words:
                sys.excepthook = _print_traceback
                raise
            fault = shorten(printable(f"{type(error).__name__}: {error}"))
            _report(parser.prog, CuelensError(f"{fault}; a fault of ours: see --debug"), words)
            code = CuelensError.exit_code
        except KeyboardInterrupt:
            code = 128 + signal.SIGINT
        finally:
            with suppress(CuelensError, OSError):  # else Python tries it, and ends with 120 where that fails
                sys.stdout.flush()
        sys.exit(code)

    return script
