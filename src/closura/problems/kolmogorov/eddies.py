"""Eddy viscosities for the staggered solver: Smagorinsky's with a constant, and with the dynamic procedure.

    tau_ij = -2 nu_t S_ij + trace,      nu_t = C Delta^2 |S|,      |S| = sqrt(2 S_ij S_ij)

with the rate of strain S and the spacing Delta. *Smagorinsky*: C is a constant's square, chosen on training flow
[Smagorinsky1963]. *Dynamic*: C follows from the flow, for what the model says of the fluxes between the grid and a
filter of twice its width has to be what they are there [Germano1991], by least squares over the box [Lilly1992]. In two
dimensions it is the flux of vorticity w that has a forward cascade (that of momentum has C <= 0 here, measured), so

    L_j = ^(u_j w) - ^u_j ^w ,   M_j = Delta^2 (^(|S| d_j w) - 4 |^S| d_j ^w) ,   C = max(0, <L M> / <M M>)

The filter ^ is the trapezoidal rule over two cells (1/4, 1/2, 1/4) along both axes. Source of the form for vorticity:
[San2014].

.. code-block:: bibtex

    @article{Smagorinsky1963,
      title = {General circulation experiments with the primitive equations. I. The basic experiment},
      author = {Smagorinsky, Joseph}, journal = {Monthly Weather Review}, volume = {91}, year = {1963}
    }
    @article{Germano1991,
      title = {A dynamic subgrid-scale eddy viscosity model},
      author = {Germano, Massimo and Piomelli, Ugo and Moin, Parviz and Cabot, William H.},
      journal = {Physics of Fluids A}, volume = {3}, year = {1991}, doi = {10.1063/1.857955}
    }
    @article{Lilly1992,
      title = {A proposed modification of the {Germano} subgrid-scale closure method}, author = {Lilly, D. K.},
      journal = {Physics of Fluids A}, volume = {4}, year = {1992}, doi = {10.1063/1.858280}
    }
    @article{San2014,
      title = {A dynamic eddy-viscosity closure model for large eddy simulations of two-dimensional decaying
               turbulence}, author = {San, Omer},
      journal = {International Journal of Computational Fluid Dynamics}, volume = {28}, year = {2014},
      doi = {10.1080/10618562.2014.963565}
    }
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from closura.problems.kolmogorov.staggered import HALO, Interpolated, Padded, StaggeredFlow

Plane = Float[Array, "x1 y1"]


class StaggeredSmagorinsky(StaggeredFlow):
    """The staggered solver with Smagorinsky's eddy viscosity.

    ``constant`` is the root of C, an array so that one program serves all values; with ``dynamic`` it is not used.
    """

    constant: Float[Array, ""] = eqx.field(kw_only=True, default_factory=lambda: jnp.asarray(0.1, jnp.float32))
    dynamic: bool = eqx.field(static=True, default=False, kw_only=True)

    def eddy_viscosity(self, padded: Padded, at: Interpolated, along: Plane, across: Plane) -> tuple[Plane, Plane]:
        """``nu_t`` in centres and corners; ``along`` and ``across`` are du/dx - dv/dy and du/dy + dv/dx."""
        # Squares of what stands in the other places, averaged over the four around.
        size_in_centres = jnp.sqrt(_square(along) + _four(_square(across), after=True))
        size_in_corners = jnp.sqrt(_square(across) + _four(_square(along), after=False))
        if self.dynamic:
            factor = self.coefficient(padded, at, along, across)
        else:
            factor = jnp.square(self.constant.astype(along.dtype))
        factor = factor * self.spacing**2
        return factor * size_in_centres, factor * size_in_corners

    def coefficient(self, padded: Padded, at: Interpolated, along: Plane, across: Plane) -> Float[Array, ""]:
        """C of the dynamic procedure, from velocities, vorticity and rates of strain in centres."""
        d = self.spacing
        u, v = at.u_centre[:-1, :-1], at.v_centre[:-1, :-1]
        inner = slice(HALO - 1, -HALO)
        # In corners -1 to n - 1, as the rates across.
        spin = (padded[1, HALO : 1 - HALO, inner] - padded[1, inner, inner]) / d
        spin = spin - (padded[0, inner, HALO : 1 - HALO] - padded[0, inner, inner]) / d
        low, high = spin[:-1], spin[1:]
        w = 0.25 * (low[:, :-1] + low[:, 1:] + high[:, :-1] + high[:, 1:])
        gradient = (
            0.5 * (high[:, :-1] + high[:, 1:] - low[:, :-1] - low[:, 1:]) / d,
            0.5 * (low[:, 1:] + high[:, 1:] - low[:, :-1] - high[:, :-1]) / d,
        )
        rates = along[:-1, :-1], _inner_four(across)
        size = jnp.sqrt(_square(rates[0]) + _square(rates[1]))
        size_of_filtered = jnp.sqrt(_square(_test_filter(rates[0])) + _square(_test_filter(rates[1])))
        product, square = jnp.zeros((), u.dtype), jnp.zeros((), u.dtype)
        for velocity, slope in zip((u, v), gradient, strict=True):
            leonard = _test_filter(velocity * w) - _test_filter(velocity) * _test_filter(w)
            model = d**2 * (_test_filter(size * slope) - 4 * size_of_filtered * _test_filter(slope))
            product, square = product + jnp.mean(leonard * model), square + jnp.mean(_square(model))
        return jnp.maximum(product / jnp.maximum(square, 1e-30), 0.0).astype(along.dtype)


def _square(field: Plane) -> Plane:
    return field * field


def _four(field: Plane, *, after: bool) -> Plane:
    """Mean of the four values around a place of the other kind; the last row and column are those of the period.

    Centres 0 to n lie between corners -1 to n - 1 (``after``: index i between i and i + 1), corners between centres.
    """
    if after:
        wide = jnp.pad(field, [(0, 1), (0, 1)])
        # Corner n is corner 0: index n + 1 stands for index 1.
        wide = wide.at[-1, :-1].set(field[1, :]).at[:-1, -1].set(field[:, 1]).at[-1, -1].set(field[1, 1])
    else:
        wide = jnp.pad(field, [(1, 0), (1, 0)])
        wide = wide.at[0, 1:].set(field[-2, :]).at[1:, 0].set(field[:, -2]).at[0, 0].set(field[-2, -2])
    return 0.25 * (wide[1:, 1:] + wide[1:, :-1] + wide[:-1, 1:] + wide[:-1, :-1])


def _inner_four(corners: Plane) -> Float[Array, "x y"]:
    """Means in centres 0 to n - 1 of the corners around them."""
    return 0.25 * (corners[1:, 1:] + corners[1:, :-1] + corners[:-1, 1:] + corners[:-1, :-1])


def _test_filter(field: Float[Array, "x y"]) -> Float[Array, "x y"]:
    rows = jnp.concatenate([field[-1:], field, field[:1]])
    field = 0.25 * rows[:-2] + 0.5 * rows[1:-1] + 0.25 * rows[2:]
    columns = jnp.concatenate([field[:, -1:], field, field[:, :1]], axis=1)
    return 0.25 * columns[:, :-2] + 0.5 * columns[:, 1:-1] + 0.25 * columns[:, 2:]
