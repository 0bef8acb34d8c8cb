"""Recurrent layers from scratch: `LSTM` and `GRU` take the places of torch's."""

from charlm.recurrent.layers import GRU, LSTM
from charlm.recurrent.stepper import Stepper

__all__ = ["GRU", "LSTM", "Stepper"]
