"""Runtime and delegate, the expression network against its contract, the face finder: each is really tried."""

from __future__ import annotations

from collections.abc import Iterator

from edge.diagnostics.checks.machine import CheckLine, Machine
from edge.settings import Settings

KNOWN = "happy"  # what the embedded face is, in the shipped network's labels
_AGAIN = "push the release again, or set up again by the lock: ./deploy.sh demo"


def check_network(machine: Machine, settings: Settings) -> Iterator[CheckLine]:
    """Load the network of the settings and let it read a face whose expression is known."""
    facts = machine.trial("model", settings.model, str(settings.threads))
    if "error" in facts:
        yield CheckLine("network", "do", str(facts["error"]), _AGAIN, facts.get("cause", ""))
        return
    yield CheckLine("runtime", "ok", f"{facts['runtime']}, {facts['delegate']}, {settings.threads} thread(s)")
    says = f"{facts['name']} {facts['sha256'][:12]} matches its contract"
    if KNOWN not in facts["labels"]:
        yield CheckLine("network", "note", f"{says}; its classes are others than ours, so that no answer is known")
    elif facts["label"] == KNOWN:
        says += (
            f", and reads an embedded smile as {facts['label']} ({facts['probability']:.2f}) in {facts['ms']:.1f} ms"
        )
        yield CheckLine("network", "ok", says)
    else:
        says += f", but reads an embedded smile as {facts['label']} ({facts['probability']:.2f})"
        yield CheckLine("network", "do", says, _AGAIN)


def check_faces(machine: Machine, settings: Settings) -> Iterator[CheckLine]:
    """Let the face finder find the demo's person."""
    facts = machine.trial("faces")
    if "error" in facts:
        yield CheckLine("faces", "do", str(facts["error"]), _AGAIN, facts.get("cause", ""))
    elif facts["faces"] != 1:
        yield CheckLine("faces", "do", f"{facts['faces']} faces are found in a picture of one", _AGAIN)
    else:
        yield CheckLine("faces", "ok", "the demo's person is found")
