"""An open stream of recommendations, watched in the background until it ends."""

from __future__ import annotations

import threading

import grpc

from cli.demo.account import Listener
from polyphony.ai.v1.recommendation_service_pb2 import WatchRecommendationsRequest


class Watch:
    """Keeps a stream of recommendations open. `answers` counts what came; `end` is the error that ended it."""

    def __init__(self, listener: Listener) -> None:
        self.answers = 0
        self.end: grpc.RpcError | None = None
        self._stream = listener.recommendations.WatchRecommendations(
            WatchRecommendationsRequest(parent="users/me", size=3), metadata=listener.metadata
        )
        self._first = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def first(self, seconds: float) -> bool:
        """Wait until the stream has answered once or ended; False when neither happened in time."""
        return self._first.wait(seconds)

    def ended(self, seconds: float) -> bool:
        """Wait until the stream has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def close(self) -> None:
        """End the stream from this side."""
        self._stream.cancel()

    def _read(self) -> None:
        try:
            for _ in self._stream:
                self.answers += 1
                self._first.set()
        except grpc.RpcError as error:
            self.end = error
        finally:
            self._first.set()
