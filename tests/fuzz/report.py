"""What a run of inputs came to, and how a finding is kept so that it can be sent again."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

CORPUS = Path(__file__).parent / "corpus"
FINDINGS_MAX = 20
"""Findings that one block keeps; more of them are counted only."""


class Finding(NamedTuple):
    """An input that did what no input may do.

    Attributes:
        target: ``doors``, ``tokens`` or ``parsers``.
        kind: What sort of input it is; the target knows what to do with it.
        what: What went wrong, in a word; findings of one word are one fault.
        data: The input itself.
        told: More about it, for people.
    """

    target: str
    kind: str
    what: str
    data: bytes
    told: str = ""


@dataclass
class Report:
    """What a block of inputs came to.

    Attributes:
        counts: How often which kind of input came to which end.
        findings: What must be mended.
    """

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def find(self, finding: Finding) -> None:
        """Keep a finding, if there are not too many already."""
        self.counts[f"{finding.kind} FOUND {finding.what}"] += 1
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(finding)


def write_case(path: Path, finding: Finding) -> None:
    """Keep a finding as a small text file: target and kind, the input escaped, then remarks."""
    text = finding.data.decode("latin-1").encode("unicode_escape").decode()
    remarks = "\n".join([finding.what, *finding.told.splitlines()[-12:]])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{finding.target} {finding.kind}\n{text}\n{remarks}\n", "utf-8")


def read_case(path: Path) -> Finding:
    """Read what :func:`write_case` has written."""
    first, text, *remarks = path.read_text("utf-8").split("\n")
    target, _, kind = first.partition(" ")
    data = text.encode().decode("unicode_escape").encode("latin-1")
    return Finding(target, kind, remarks[0] if remarks else "", data)
