"""Learning from one person's plays: journal -> neighbours and affinity -> ONNX, with quality and evidence.

Pure functions of the plays: nothing here knows a database, a network or the clock, and the same plays always
give the same bytes.
"""

from services.ai.training.cooccurrence import Recipe
from services.ai.training.evidence import Loved, Memory, Pair, Together
from services.ai.training.graph import INPUTS, OUTPUTS, Tensor, digest
from services.ai.training.journal import Journal, Play, Track, journal_of, pack, unpack
from services.ai.training.quality import Quality
from services.ai.training.train import LEAST_PLAYS, Trained, train

__all__ = [
    "INPUTS",
    "LEAST_PLAYS",
    "OUTPUTS",
    "Journal",
    "Loved",
    "Memory",
    "Pair",
    "Play",
    "Quality",
    "Recipe",
    "Tensor",
    "Together",
    "Track",
    "Trained",
    "digest",
    "journal_of",
    "pack",
    "train",
    "unpack",
]
