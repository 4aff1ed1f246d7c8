#!/usr/bin/python3.13
"""The first and only program of an emulated board: it runs each line of Python that comes in, and answers in one."""

import ctypes
import sys

libc = ctypes.CDLL(None)
for kind, folder in ((b"devtmpfs", b"/dev"), (b"proc", b"/proc"), (b"sysfs", b"/sys")):
    libc.mount(kind, folder, kind, 0, None)
sys.path.insert(0, "/opt")
names: dict[str, object] = {}
print("\n=> ready", flush=True)
for line in sys.stdin:
    try:
        try:
            answer = eval(line, names)
        except SyntaxError:
            answer = exec(line, names)
    except Exception as error:
        answer = error
    print(f"\n=> {answer!r}", flush=True)
