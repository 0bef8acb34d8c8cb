"""Recurrent layers from scratch: `LSTM` and `GRU`, drop-in replacements for torch's."""

from charlm.recurrent.engines.base import Precision, State
from charlm.recurrent.layers import GRU, LSTM
from charlm.recurrent.selection import EngineName
from charlm.recurrent.stepper import Stepper

__all__ = ["GRU", "LSTM", "EngineName", "Precision", "State", "Stepper"]
