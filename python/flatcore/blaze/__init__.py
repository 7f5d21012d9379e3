"""Sixth stage: the blaze of every order, by the best description that its data bear."""

from flatcore.blaze.ladder import fit_blaze, fit_orders
from flatcore.blaze.leastsquares import prepare
from flatcore.blaze.model import PARAMETERS, sinc2, sinc2_jacobian

__all__ = ["PARAMETERS", "fit_blaze", "fit_orders", "prepare", "sinc2", "sinc2_jacobian"]
