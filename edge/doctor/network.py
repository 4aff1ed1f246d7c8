"""Runtime and delegate, the expression network against its contract, the face finder: each is really tried."""

from __future__ import annotations

from collections.abc import Iterator

from edge.config import Settings
from edge.doctor.machine import Line, Machine

KNOWN = "happy"  # what the embedded face is, in the shipped network's labels
_AGAIN = "push the release again, or set up again by the lock: ./deploy.sh demo"


def check_network(machine: Machine, settings: Settings) -> Iterator[Line]:
    """Load the network of the settings and let it read a face whose expression is known."""
    told = machine.trial("model", settings.model, str(settings.threads))
    if "error" in told:
        yield Line("network", "do", str(told["error"]), _AGAIN)
        return
    yield Line("runtime", "ok", f"{told['runtime']}, {told['delegate']}, {settings.threads} thread(s)")
    says = f"{told['name']} {told['sha256'][:12]} is what its contract says"
    if KNOWN not in told["labels"]:
        yield Line("network", "note", f"{says}; its classes are others than ours, so that no answer is known")
    elif told["label"] == KNOWN:
        says += f", and reads an embedded smile as {told['label']} ({told['probability']:.2f}) in {told['ms']:.1f} ms"
        yield Line("network", "ok", says)
    else:
        says += f", but reads an embedded smile as {told['label']} ({told['probability']:.2f})"
        yield Line("network", "do", says, _AGAIN)


def check_faces(machine: Machine, settings: Settings) -> Iterator[Line]:
    """Let the face finder find the demo's person."""
    told = machine.trial("faces")
    if "error" in told:
        yield Line("faces", "do", str(told["error"]), _AGAIN)
    elif told["faces"] != 1:
        yield Line("faces", "do", f"{told['faces']} faces are found in a picture of one", _AGAIN)
    else:
        yield Line("faces", "ok", "the demo's person is found")
