"""Tuning: how a model is run best on somebody's own video, and what that changes in its results."""

from cvpipe.tuning.agreement import Agreement, agreement_of
from cvpipe.tuning.plot import plotted
from cvpipe.tuning.quantise import Quantised, Try, quantise
from cvpipe.tuning.sweep import Row, Setting, Tuned, save, tune

__all__ = [
    "Agreement", "Quantised", "Row", "Setting", "Try", "Tuned", "agreement_of", "plotted", "quantise", "save", "tune",
]  # fmt: skip
