"""A simulated listening history: seeded, realistic in its habits, and labelled as simulated everywhere."""

from cli.simulation.archive import MARKER, simulate, write_archive
from cli.simulation.listener import SimulatedPlay

__all__ = ["MARKER", "SimulatedPlay", "simulate", "write_archive"]
