"""Recurrent layers from scratch: `LSTM` and `GRU`, drop-in replacements for torch's."""

from charlm.recurrent.engines.base import State
from charlm.recurrent.layers import GRU, LSTM
from charlm.recurrent.stepper import Stepper

__all__ = ["GRU", "LSTM", "State", "Stepper"]
