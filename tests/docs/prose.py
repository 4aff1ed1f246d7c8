"""Words and constructions that the documentation and messages do not use, each with what is written instead."""

from __future__ import annotations

import re

# A program prints, shows, reports, returns, refuses or names; it does not tell. Whoever acts is named.
BANNED: dict[str, str] = {
    r"\b(?:is|are|was|were) (?:said|told)\b": "name who prints or shows it",
    r"\btold\b": "shown, printed, reported or named",
    r"\btells?\b(?! (?:\w+ ){0,3}apart| me| us| them| the people| somebody)": "shows, prints, reports or names",
    r"\b(?:program|Cuelens|command|device|contract|file|header|kernel|driver|firmware|registry|runtime|container|status"
    r"|network|interpreter|index|journal|log|report|result|table|page|card) (?:says?|said)\b": "prints, shows, states",
    r"\bg(?:ive|ives|iven|ave) up\b": "stops, ends after, no longer tries",
    r"\banew\b|\bafresh\b|\boftener\b": "again, more often",
    r"\bno more (?!than\b|to\b)(?:\w+ed|able|clear|taken|read)\b": "no longer",
    r"\bfor ever\b": "without a limit",
    r"\bwhat ends or hangs\b|\bwhat answers there\b": "name what ends",
    r"\b(?:is|are) (?:looked|asked) (?:for|at|into)\b": "name who searches or asks",
    r"\bstood still\b": "was blocked",
    r"\bgo(?:es|ing)? on (?:with|without)\b": "continues",
    r"\bfor nobody\b|\bby nobody\b": "no user",
    r"\ball the same\b": "still",
    r"\bas they come\b": "by default",
    r"\bin good order\b": "as planned",
    r"\btidings\b|\bthereof\b|\bwhereby\b|\bhence\b": "plain words",
}
PATTERN = re.compile("|".join(f"(?:{banned})" for banned in BANNED), re.IGNORECASE)
AMERICAN = re.compile(
    r"\b(?:color|behavior|center|favorite|neighbor|(?:anal|organ|recogn|summar|quant)[iy]z)\w*", re.IGNORECASE
)


def complaints(text: str, *, british: bool = True) -> list[str]:
    """Return each banned construction with its place and what is written instead; American words if `british`."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        for match in PATTERN.finditer(line):
            advice = next(advice for banned, advice in BANNED.items() if re.fullmatch(banned, match[0], re.IGNORECASE))
            found.append(f"line {number}: {match[0]!r}; write: {advice}")
        american = AMERICAN.finditer(line) if british else ()
        found += [f"line {number}: {match[0]!r} is American; the docs are British" for match in american]
    return found
