"""Compliance: what people consented to, and the proof of what was done with their data."""
