"""What a person listened to: their own export read in, kept, listed, counted and deleted."""

from services.spotify.servicer import UserDataService

__all__ = ["UserDataService"]
