"""``closura export`` and ``closura verify``: closures as code, and whether it computes what they do."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from closura.commands.console import console
from closura.commands.options import Positional, parse
from closura.commands.results import Outputs
from closura.export.package import export, read_card
from closura.export.verify import verify
from closura.settings import Natural


@dataclass(frozen=True)
class ExportOptions:
    """What to export, and to what.

    Parameters
    ----------
    closure
        A run folder, a .safetensors file, or the name of a closure that comes with the package.
    to
        "c": C99, one source and one header file with the weights inside; "fortran": the same and a module of Fortran
        2008 around it; "fortran-pure": Fortran 2008 alone, for closures that see their own cell or interface only;
        "onnx": for any batch and grid; "stablehlo": a StableHLO module for the training grid (jax.export).
    out
        The folder (default: export-NAME).
    name
        Prefix of all names in C (default: that of the run or file).
    simulations
        Training simulations from which the range of the observation is taken, for the guard (default: the range in the
        closure's card, else 4 simulations); 0: none, and no guard.
    """

    closure: Positional[str]
    to: tuple[Literal["c", "fortran", "fortran-pure", "onnx", "stablehlo"], ...] = ("c",)
    out: Path | None = None
    name: str = ""
    simulations: Natural | None = None


@dataclass(frozen=True)
class VerifyOptions:
    """Which export to verify.

    Parameters
    ----------
    folder
        Made by closura export.
    compiler
        The C compiler (default: cc, else gcc or clang).
    fortran_compiler
        The Fortran compiler (default: gfortran, else flang, ifx or nvfortran).
    """

    folder: Positional[Path]
    compiler: str = ""
    fortran_compiler: str = ""


def run_export(arguments: Sequence[str]) -> None:
    """Write a closure as code for other languages."""
    options = parse(
        ExportOptions, arguments, prog="closura export",
        description="A closure as C, Fortran, ONNX or StableHLO, with its card and a self-test.",
    )  # fmt: skip
    stem = Path(options.closure).name.removesuffix(".safetensors")
    out = options.out or Path(f"export-{stem}")
    Outputs(folders={"--out": out}, inputs={"the closure": Path(options.closure)})
    card = export(options.closure, out, to=options.to, name=options.name, simulations=options.simulations)
    console.print(f"{out}: {', '.join(card['files'])}", soft_wrap=True)
    if card["range"] is None:
        console.print("no range of the observation is known: the guard is off", soft_wrap=True)
    console.print(f"check it: closura verify {shlex.quote(str(out))}", soft_wrap=True)


def run_verify(arguments: Sequence[str]) -> dict[str, float]:
    """Compile or load an export and compare it with JAX."""
    options = parse(
        VerifyOptions, arguments, prog="closura verify",
        description="Compile or load an export and compare its answers with those of JAX, to 1e-5 of the largest.",
    )  # fmt: skip
    found = verify(options.folder, compiler=options.compiler, fortran_compiler=options.fortran_compiler)
    for name, value in found.items():
        console.print(f"{name}: largest difference {value:.1e} of the largest action")
    checked = {name.split()[0] for name in found}
    for target in sorted(set(read_card(options.folder)["targets"]) - checked):
        console.print(f"{target}: not compared, there is no Fortran compiler", soft_wrap=True)
    return found
