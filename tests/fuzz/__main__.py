"""`python -m tests.fuzz MINUTES [TARGET ...]`: every target for that long, by coverage where atheris is installed.

Each runs in a process of its own, so that a library that dies, hangs or fills the memory is a finding too. What was
found is in .cache/fuzz/TARGET, as `crash-*`, `timeout-*` or `oom-*`; give such a file as TARGET=FILE to see it again.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.fuzz.mutate import mutated

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".cache" / "fuzz"
MOST_MB, MOST_SECONDS = 2048, 20  # of one input; a Raspberry Pi Zero 2 W is some ten times slower


def guided(name: str, seconds: int) -> None:
    """Fuzz one target here with atheris; libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(
        include=["edge", "deploy", "tomllib", "tarfile", "zipfile", "json", "tests.fuzz.targets"]
    ):
        from tests.fuzz.targets import TARGETS, one
    target, folder = TARGETS[name], Path(tempfile.mkdtemp(prefix="cuelens-fuzz-", dir="/dev/shm"))
    kept = KEPT / name
    (kept / "corpus").mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (kept / "corpus" / f"seed-{number}").write_bytes(seed)
    quoted = ("".join(f"\\x{byte:02x}" for byte in word) for word in target.words)
    (kept / "words").write_text("".join(f'"{word}"\n' for word in quoted))
    atheris.Setup(
        [
            name, *([f"-dict={kept / 'words'}"] if target.words else []),
            f"-max_total_time={seconds}", f"-artifact_prefix={kept}/",
            "-max_len=65536", f"-timeout={MOST_SECONDS}", f"-rss_limit_mb={MOST_MB}", "-print_final_stats=1",
            "-verbosity=0", str(kept / "corpus"),
        ],
        lambda data: one(target, data, folder),
    )  # fmt: skip
    atheris.Fuzz()


def unguided(name: str, seconds: int) -> None:
    """Fuzz one target here with hypothesis' examples, each round with another seed."""
    from hypothesis import HealthCheck, given, seed, settings
    from hypothesis import strategies as st

    from tests.fuzz.targets import TARGETS, one

    target, inputs, end = TARGETS[name], 0, time.monotonic() + seconds
    strategy = mutated(target.seeds(), target.words) | st.binary(max_size=300)
    with tempfile.TemporaryDirectory(prefix="cuelens-fuzz-") as folder:

        def try_one(data: bytes) -> None:
            nonlocal inputs
            inputs += 1
            one(target, data, Path(folder))

        checks = settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        while time.monotonic() < end:
            seed(inputs)(checks(given(strategy)(try_one)))()
    print(f"stat::number_of_executed_units: {inputs}")


def fuzz(name: str, seconds: int) -> dict[str, Any]:
    """Fuzz one target in a process of its own; returns what came of it."""
    before = set((KEPT / name).glob("*-*"))
    words = [sys.executable, "-m", "tests.fuzz", "--here", name, "--seconds", str(seconds)]
    begun = time.monotonic()
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
    answer = done.stdout + done.stderr
    inputs = re.search(r"number_of_executed_units: (\d+)", answer)
    found = sorted(str(path) for path in set((KEPT / name).glob("*-*")) - before)
    if done.returncode:
        (KEPT / name).mkdir(parents=True, exist_ok=True)
        (KEPT / name / "words-of-the-last-finding").write_text(answer[-20_000:])
    return {
        "target": name,
        "minutes": round((time.monotonic() - begun) / 60, 2),
        "inputs": int(inputs[1]) if inputs else 0,
        "guided": find_spec("atheris") is not None,
        "exit_code": done.returncode,
        "found": found,
    }


def main() -> int:
    """Fuzz what is named, print a line of JSON for each; 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("minutes", nargs="?", type=float, default=1.0, help="for each target; default %(default)s")
    parser.add_argument("targets", nargs="*", metavar="TARGET[=FILE]", help="default all; with a file that input alone")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        (guided if find_spec("atheris") else unguided)(args.here, args.seconds)
        return 0
    from tests.fuzz.targets import TARGETS, one

    code = 0
    for given in args.targets or TARGETS:
        name, _, file = given.partition("=")
        if name not in TARGETS:
            parser.error(f"no target {name!r}; valid are {', '.join(TARGETS)}")
        if file:
            with tempfile.TemporaryDirectory() as folder:
                one(TARGETS[name], Path(file).read_bytes(), Path(folder))
            continue
        result = fuzz(name, round(60 * args.minutes))
        print(json.dumps(result), flush=True)
        code = code or int(bool(result["exit_code"]))
    return code


if __name__ == "__main__":
    sys.exit(main())
