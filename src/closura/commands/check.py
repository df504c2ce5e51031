"""``closura check``: whether a problem is one that a closure can be learned on."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from closura.commands.console import console
from closura.commands.options import Group, parse_groups, use_precision
from closura.commands.problems import named_problem
from closura.learners import LEARNERS
from closura.problems import build_problem
from closura.settings import Count
from closura.simulation.checks import Finding, check_problem


@dataclass(frozen=True)
class CheckOptions:
    """How to check.

    Parameters
    ----------
    steps
        Coarse steps of the simulations.
    """

    steps: Count = 50


def run_check(arguments: Sequence[str]) -> list[Finding]:
    """Print what is found; exit status 2 if something is wrong."""
    found = named_problem(arguments, "check")
    settings = None if found is None else found.settings()
    groups = [Group(CheckOptions()), *([] if settings is None else [Group(settings)])]
    options, *rest = parse_groups(
        arguments[0 if found is None else 1 :], *groups, prog="closura check PROBLEM",
        description="What may be wrong with a problem, and whether a closure can pay.",
    )  # fmt: skip
    use_precision(rest[0])

    def learners(differentiable: bool) -> str:
        return ", ".join(n for n in LEARNERS if differentiable or not LEARNERS.find(n).differentiates)

    findings = []
    with console.status("checking") as status:
        checks = check_problem(
            lambda split: build_problem(rest[0], split), learners, steps=options.steps, report=status.update
        )
        for finding in checks:
            mark = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}[finding.status]
            console.print(f"{mark}  {finding.check:<13} {finding.words}", soft_wrap=True, highlight=False)
            findings.append(finding)
    if any(finding.status == "wrong" for finding in findings):
        sys.exit(2)
    return findings
