"""What an evaluation of schemes and closures says, in sentences made from its numbers."""

from closura.evaluation.laws.measure import geometric_mean
from closura.evaluation.laws.methods import rival_of
from closura.evaluation.laws.study import LawEvaluation
from closura.evaluation.laws.tables import NORM_NAMES, ratio
from closura.reporting.formatting import cost_beside, standing


def findings(evaluation: LawEvaluation) -> list[str]:
    """What the numbers say, for each closure, without judging beyond them."""
    study, norm = evaluation.study, evaluation.study.problem.norm
    sentences = verdicts(evaluation)
    for name in evaluation.closures:
        rival = rival_of(name, evaluation.methods)
        if rival == name:
            continue
        by_grid = [f"{ratio(evaluation.ratio(name, n, norm))} on {n} cells" for n in study.cells]
        sentence = (
            f"{name}: {NORM_NAMES[norm]} error (geometric mean over {len(study.initial)} initial conditions) by that "
            f"of {rival}: {', '.join(by_grid)}."
        )
        cells = study.drawn_cells
        each = {
            initial: evaluation.error(name, initial, cells, norm) / evaluation.error(rival, initial, cells, norm)
            for initial in study.initial
        }
        worst, best = max(each, key=lambda k: each[k]), min(each, key=lambda k: each[k])
        if len(each) > 1:
            sentence += (
                f" On {cells} cells from {ratio(each[best])} ({best}) to {ratio(each[worst])} ({worst}), geometric "
                f"mean {ratio(geometric_mean(list(each.values())))}."
            )
        sentences.append(sentence)
    return sentences


def verdicts(evaluation: LawEvaluation) -> list[str]:
    """Each closure beside the best classical scheme on every grid, chosen by the results, with its cost."""
    study, norm = evaluation.study, evaluation.study.problem.norm
    sentences = []
    for name in evaluation.closures:
        for cells in study.cells:
            rival = evaluation.best_scheme(cells, norm)
            if rival is None:
                continue
            value, low, high = evaluation.beside(name, rival, cells, norm)
            found = standing(low, high, even=1.0) or "ratio of errors"
            sentence = (
                f"{name} against {rival}, the best classical scheme of these on {cells} cells: {found}, "
                f"{ratio(value)} of its {NORM_NAMES[norm]} error"
            )
            if low == low:
                sentence += (
                    f" (95 % interval over {len(study.initial)} initial conditions {ratio(low)} to {ratio(high)})"
                )
            if evaluation.cost:
                sentence += cost_beside(evaluation.cost[name], evaluation.cost[rival], rival)
            sentences.append(sentence + ".")
    return sentences
