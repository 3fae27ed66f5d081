"""Constants of the two methods, which can check their own order conditions.

The explicit pair is Dormand and Prince's 5(4) (J. Comput. Appl. Math. 6, 1980) with Shampine's
interpolant of order 4 (Math. Comp. 46, 1986); the linearly implicit method is Steinebach's
Rodas5P of order 5(4) (BIT 63:27, 2023), in the variables U = Σ γ_ij k_j that save the products with
the Jacobian (Hairer and Wanner, Solving ODEs II, 2nd ed., IV.7).
Notation of those: stages k_i, nodes c, matrix a, weights b, γ, Γ = (γ_ij).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Row = tuple[Fraction, ...]


def _row(text: str) -> Row:
    return tuple(Fraction(word) for word in text.split())


@dataclass(frozen=True)
class ExplicitTableau:
    """An explicit pair whose last stage is the velocity at the end of the step.

    Attributes
    ----------
    stages : tuple of rows
        The rows of a; the last holds the weights b of the step itself.
    error : row
        b minus the weights of the embedded method.
    dense : tuple of rows
        Row i holds the coefficients of θ, θ², … in b_i(θ): y(t + θh) = y + h Σ b_i(θ) k_i.
    error_order : int
        Of the embedded method.
    stability : float
        The real λh down to which the step damps.
    """

    stages: tuple[Row, ...]
    error: Row
    dense: tuple[Row, ...]
    error_order: int
    stability: float

    def order_defects(self) -> dict[str, Fraction]:
        """Every identity the constants must satisfy, as a defect that is exactly 0.

        The 17 conditions of order 5, the eight of order 4 of the embedded method, and the eight
        of the interpolant, power by power.

        Examples
        --------
        >>> set(DORMAND_PRINCE.order_defects().values())
        {Fraction(0, 1)}
        """
        s = len(self.stages) + 1
        a = np.full((s, s), Fraction(0))
        for i, row in enumerate(self.stages):
            a[i + 1, : len(row)] = row
        b, dense = a[-1], np.array(self.dense)
        embedded = b - np.array(self.error)
        found = {}
        for size, name, phi, density in _tree_weights(a, a, np.full(s, Fraction(1))):
            found[f"step, {name}"] = b @ phi - 1 / density
            if size <= self.error_order:
                found[f"embedded, {name}"] = embedded @ phi - 1 / density
                for power in range(dense.shape[1]):
                    # Σ b_i(θ) Φ_i = θ^size/γ for each tree of up to four nodes.
                    wanted = 1 / density if power + 1 == size else 0
                    found[f"dense, {name}, θ^{power + 1}"] = dense[:, power] @ phi - wanted
        for i, row in enumerate(dense):
            found[f"dense, end, {i}"] = row.sum() - b[i]
        return found


def _tree_weights(alpha: Any, beta: Any, one: Any) -> list[tuple[int, str, Any, Any]]:
    """Nodes, name, elementary weights Φ and density γ of each rooted tree of up to five nodes.

    A node with one branch takes β, one with several α (Hairer and Wanner IV.7); an explicit
    method has β = α.
    """

    def tree(*branches: Any) -> Any:
        size, name, weights, density = 1, "", one, Fraction(1)
        for n, label, phi, gamma in branches:
            weights = weights * ((alpha if len(branches) > 1 else beta) @ phi)
            size, name, density = size + n, name + label, density * gamma
        return size, f"[{name}]", weights, density * size

    dot = tree()
    two, bush3 = tree(dot), tree(dot, dot)
    tall3 = tree(two)
    four = [tree(dot, dot, dot), tree(dot, two), tree(bush3), tree(tall3)]
    five = [tree(x) for x in four]
    five += [tree(dot, dot, dot, dot), tree(dot, dot, two), tree(two, two)]
    five += [tree(dot, bush3), tree(dot, tall3)]
    return [dot, two, bush3, tall3, *four, *five]


DORMAND_PRINCE = ExplicitTableau(
    stages=(
        _row("1/5"),
        _row("3/40 9/40"),
        _row("44/45 -56/15 32/9"),
        _row("19372/6561 -25360/2187 64448/6561 -212/729"),
        _row("9017/3168 -355/33 46732/5247 49/176 -5103/18656"),
        _row("35/384 0 500/1113 125/192 -2187/6784 11/84"),
    ),
    error=_row("71/57600 0 -71/16695 71/1920 -17253/339200 22/525 -1/40"),
    dense=(
        _row("1 -8048581381/2820520608 8663915743/2820520608 -12715105075/11282082432"),
        _row("0 0 0 0"),
        _row("0 131558114200/32700410799 -68118460800/10900136933 87487479700/32700410799"),
        _row("0 -1754552775/470086768 14199869525/1410260304 -10690763975/1880347072"),
        _row("0 127303824393/49829197408 -318862633887/49829197408 701980252875/199316789632"),
        _row("0 -282668133/205662961 2019193451/616988883 -1453857185/822651844"),
        _row("0 40617522/29380423 -110615467/29380423 69997945/29380423"),
    ),
    error_order=4,
    stability=3.3,
)


@dataclass(frozen=True)
class RosenbrockTableau:
    """A linearly implicit, stiffly accurate method in the variables U = Σ γ_ij k_j.

    Stage i solves (1/(γh) − J) U_i = f(y + Σ a_ij U_j) + Σ c_ij U_j / h. The step ends at
    y + Σ m_i U_i, which is the state of the last stage plus the last U; that alone is the error.
    In between, y(t + θh) = (1−θ) y + θ (y_1 + (1−θ) Σ (d_0j + θ d_1j + θ² d_2j) U_j).
    """

    gamma: float
    a: tuple[tuple[float, ...], ...]
    c: tuple[tuple[float, ...], ...]
    dense: tuple[tuple[float, ...], ...]
    error_order: int

    def order_defects(self) -> dict[str, float]:
        """Defects of the 17 conditions of order 5, and of the eight of order 4 of the rest.

        The rest are the embedded method and the interpolant, the latter at three shares of the
        step. Hairer and Wanner IV.7, autonomous systems: with Γ = (I/γ − C)⁻¹ the constants of the
        k's are α = A Γ, b = mᵀ Γ, β = α + Γ.

        Examples
        --------
        >>> max(abs(x) for x in RODAS5P.order_defects().values()) < 1e-10
        True
        """
        s = len(self.a) + 1
        A, C, one = np.zeros((s, s)), np.zeros((s, s)), np.ones(s)
        for i in range(1, s):
            A[i, :i], C[i, :i] = self.a[i - 1], self.c[i - 1]
        Gamma = np.linalg.inv(np.eye(s) / self.gamma - C)
        alpha, m, last = A @ Gamma, A[-1] + np.eye(s)[-1], A[-1]
        trees = _tree_weights(alpha, alpha + Gamma, one)
        small = [tree for tree in trees if tree[0] <= self.error_order]
        found = {f"step, {name}": float(m @ Gamma @ phi - 1 / d) for _, name, phi, d in trees}
        for _, name, phi, density in small:
            found[f"embedded, {name}"] = float(last @ Gamma @ phi - 1 / density)
        for theta in (0.2, 0.5, 0.9):
            inner = np.polynomial.polynomial.polyval(theta, np.array(self.dense))
            b = theta * (m + (1 - theta) * inner) @ Gamma
            for size, name, phi, density in small:
                found[f"dense at {theta}, {name}"] = float(b @ phi - theta**size / density)
        return found


_LAST = (
    -7.502846399306121,
    2.561846144803919,
    -11.627539656261098,
    -0.18268767659942256,
    0.030198172008377946,
)

RODAS5P = RosenbrockTableau(
    gamma=0.21193756319429014,
    a=(
        (3.0,),
        (2.849394379747939, 0.45842242204463923),
        (-6.954028509809101, 2.489845061869568, -10.358996098473584),
        (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
        _LAST,
        (*_LAST, 1.0),
        (*_LAST, 1.0, 1.0),
    ),
    c=(
        (-14.155112264123755,),
        (-17.97296035885952, -2.859693295451294),
        (147.12150275711716, -1.41221402718213, 71.68940251302358),
        (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
        (
            24.854864614690072,
            -3.0009227002832186,
            47.4931110020768,
            5.5814197821558125,
            -0.6610691825249471,
        ),
        (
            30.91273214028599,
            -3.1208243349937974,
            77.79954646070892,
            34.28646028294783,
            -19.097331116725623,
            -28.087943162872662,
        ),
        (
            37.80277123390563,
            -3.2571969029072276,
            112.26918849496327,
            66.9347231244047,
            -40.06618937091002,
            -54.66780262877968,
            -9.48861652309627,
        ),
    ),
    dense=(
        (
            25.948786856663858,
            -2.5579724845846235,
            10.433815404888879,
            -2.3679251022685204,
            0.524948541321073,
            1.1241088310450404,
            0.4272876194431874,
            -0.17202221070155493,
        ),
        (
            -9.91568850695171,
            -0.9689944594115154,
            3.0438037242978453,
            -24.495224566215796,
            20.176138334709044,
            15.98066361424651,
            -6.789040303419874,
            -6.710236069923372,
        ),
        (
            11.419903575922262,
            2.8879645146136994,
            72.92137995996029,
            80.12511834622643,
            -52.072871366152654,
            -59.78993625266729,
            -0.15582684282751913,
            4.883087185713722,
        ),
    ),
    error_order=4,
)
