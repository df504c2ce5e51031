"""Closures side by side: from the same filtered frames to the same full frames, block by block.

Rows beside the closures: ``none`` (the filtered field itself), ``persistence`` (the first full frame of each stretch
that is judged, held) and ``climatology`` (training frames drawn at random). Deterministic rows are scored as a single
prediction, whose CRPS is the absolute error and whose intervals are empty.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from closura.evaluation.flows.closure_results import ClosureEvaluation, ClosureStudy
from closura.evaluation.flows.closure_rows import PARTS, parts_of, score_row, truth_of
from closura.evaluation.flows.frames import energy_range
from closura.evaluation.flows.subjects import ClosureSubject
from closura.offline.baselines import NoClosure
from closura.offline.sampler import ConditionalSampler


def run_closure_study(
    study: ClosureStudy,
    subjects: Sequence[ClosureSubject],
    *,
    notes: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    report: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> ClosureEvaluation:
    """Score all rows.

    Parameters
    ----------
    study
        Data and frames.
    subjects
        Closures; the first one with a climatology gives that row.
    notes
        What has to be said beside the numbers.
    settings
        For the record.
    report
        Told the row's name, the frames that are done and their number.

    Raises
    ------
    ValueError
        If the data cannot be read or a closure does not take their frames.
    """
    parts = parts_of(study)
    energies = energy_range(study.data, [s.trajectory for s in study.stretches])
    truth, filtered, trace = truth_of(study, parts, energies)
    shape = (2, study.data.points, study.data.points)
    plan: list[tuple[str, ConditionalSampler | None, ClosureSubject | None]] = [("none", NoClosure(shape), None)]
    plan.append(("persistence", None, None))
    climate = next((s for s in subjects if s.climatology is not None), None)
    if climate is not None:
        plan.append(("climatology", climate.climatology, None))
    plan += [(subject.name, subject.closure, subject) for subject in subjects]
    rows = {}
    for name, closure, subject in plan:
        rows[name] = score_row(study, name, closure, subject, parts, energies, report)
    told = list(notes)
    if climate is None:
        told.append("No run keeps a climatology of its training frames: that row is missing.")
    elif len(subjects) > 1:
        told.append(f"The climatology is that of {climate.name}'s training frames.")
    several = len(study.stretches) > 3
    unit = "trajectories" if several else f"blocks of time (up to {PARTS} of each trajectory)"
    return ClosureEvaluation(study, rows, truth, filtered, trace, unit, tuple(told), dict(settings or {}))
