"""Least squares for a few parameters: Levenberg and Marquardt's method, and what it leaves uncertain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Residuals = Callable[[Vector], Vector]

_ROUNDS: Final = 60
_STEP: Final = 1e-6
_SETTLED: Final = 1e-12
_MOST_DAMPING: Final = 1e9
_LEAST_CONDITION: Final = 1e-10


@dataclass(frozen=True, slots=True)
class Fit:
    """Where the sum of squares is least.

    parameters: (k,). residuals: (n,), in standard deviations. jacobian: (n, k), how residuals change with parameters.
    """

    parameters: Vector
    residuals: Vector
    jacobian: npt.NDArray[np.float64]

    @property
    def misfit(self) -> float:
        """Sum of squared residuals for each observation beyond those needed; 1 where there are none beyond."""
        spare = len(self.residuals) - len(self.parameters)
        return float(self.residuals @ self.residuals) / spare if spare > 0 else 1.0

    def covariance(self) -> npt.NDArray[np.float64]:
        """(k, k), of the parameters: larger where the observations fit worse than they claim to, never smaller.

        Raises: ValueError where the observations leave a combination of the parameters open.
        """
        _, values, rows = np.linalg.svd(self.jacobian, full_matrices=False)
        if len(values) < len(self.parameters) or values[-1] < _LEAST_CONDITION * values[0]:
            raise ValueError("what is known does not determine everything")
        return (rows.T / values**2) @ rows * max(1.0, self.misfit)


def fit(residuals: Residuals, start: Vector) -> Fit:
    """Least squares from a start that is near.

    residuals: parameters (k,) -> (n,), each in standard deviations of its observation.
    Source: Madsen, Nielsen, Tingleff, Methods for Non-Linear Least Squares Problems, 2004.
    """
    parameters = np.asarray(start, np.float64)
    left = residuals(parameters)
    damping = 1e-4
    for _ in range(_ROUNDS):
        slopes = derivative(residuals, parameters)
        normal, gradient = slopes.T @ slopes, slopes.T @ left
        scale = np.maximum(np.diag(normal), 1e-30)
        while damping < _MOST_DAMPING:
            step = -np.linalg.solve(normal + np.diag(damping * scale), gradient)
            tried = residuals(parameters + step)
            if tried @ tried <= left @ left:
                break
            damping *= 4
        else:
            break
        gain = left @ left - tried @ tried
        parameters, left, damping = parameters + step, tried, damping / 8
        if gain <= _SETTLED * max(1.0, float(left @ left)):
            break
    return Fit(parameters, left, derivative(residuals, parameters))


def derivative(function: Callable[[Vector], Vector], at: Vector) -> npt.NDArray[np.float64]:
    """How the n values of a function change with its k parameters: (n, k), by central differences."""
    columns = []
    for number, value in enumerate(at.tolist()):
        step = np.zeros(len(at))
        step[number] = _STEP * max(1.0, abs(value))
        columns.append((function(at + step) - function(at - step)) / (2 * step[number]))
    return np.stack(columns, axis=-1)
