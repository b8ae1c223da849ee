"""`polyphony.spotify.v1.UserDataService`: translation between messages and use cases, nothing else."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import google_crc32c

from interceptors.faults import Fault
from interceptors.ids import new_id
from polyphony.errors.v1 import reason_pb2
from polyphony.spotify.v1 import user_data_service_pb2 as pb
from polyphony.spotify.v1.user_data_service_pb2_grpc import UserDataServiceServicer
from services.spotify.messages import (
    history_message,
    import_message,
    part,
    period,
    play_message,
    profile_message,
)
from services.spotify.ports import Storage
from services.spotify.usecases.history import delete_history, undelete_history
from services.spotify.usecases.import_history import FileHeader, ImportHistory
from services.spotify.usecases.imports import get_import, list_imports
from services.spotify.usecases.listening import list_plays, listening_profile

DEFAULT_PAGE_SIZE = 50
DEFAULT_TOP_SIZE = 10


class UserDataService(UserDataServiceServicer):
    """A person's own listening history. `keep` is how long a deleted one can be brought back."""

    def __init__(self, storage: Storage, importing: ImportHistory, *, keep: timedelta) -> None:
        self._storage = storage
        self._importing = importing
        self._keep = keep

    async def ImportHistory(
        self, request_iterator: AsyncIterator[pb.ImportHistoryRequest], context: Any
    ) -> pb.ImportHistoryResponse:
        """Read a file in as it arrives."""
        requests = aiter(request_iterator)
        first = await anext(requests, pb.ImportHistoryRequest())
        if first.WhichOneof("part") != "header":
            raise Fault(reason_pb2.REASON_REQUEST_INVALID, "The first message is the header.", field="header")
        header = FileHeader(
            part(first.header.parent, 1), first.header.file_name, first.header.size_bytes, first.header.sha256
        )
        done = await self._importing(header, new_id(), _chunks(requests), time.time())
        response = pb.ImportHistoryResponse()
        # `import` is a word of Python, so the field has no attribute that could be written down.
        getattr(response, "import").CopyFrom(import_message(done, datetime.now(UTC)))
        return response

    async def GetImport(self, request: pb.GetImportRequest, context: Any) -> pb.GetImportResponse:
        """How an import stands."""
        user, identifier = part(request.name, 1), part(request.name, 3)
        found = await self._storage.read(lambda stores: get_import(stores, user=user, identifier=identifier))
        response = pb.GetImportResponse()
        getattr(response, "import").CopyFrom(import_message(found, datetime.now(UTC)))
        return response

    async def ListImports(self, request: pb.ListImportsRequest, context: Any) -> pb.ListImportsResponse:
        """The imports of a person, newest first."""
        found, token = await self._storage.read(
            lambda stores: list_imports(
                stores,
                user=part(request.parent, 1),
                size=request.page_size or DEFAULT_PAGE_SIZE,
                token=request.page_token,
            )
        )
        now = datetime.now(UTC)
        return pb.ListImportsResponse(
            imports=[import_message(one, now) for one in found], next_page_token=token
        )

    async def ListPlays(self, request: pb.ListPlaysRequest, context: Any) -> pb.ListPlaysResponse:
        """The plays of a person, oldest first."""

        def read(stores: Any) -> pb.ListPlaysResponse:
            plays, token = list_plays(
                stores,
                user=part(request.parent, 1),
                period=period(request),
                size=request.page_size or DEFAULT_PAGE_SIZE,
                token=request.page_token,
            )
            return pb.ListPlaysResponse(plays=[play_message(play) for play in plays], next_page_token=token)

        return await self._storage.read(read)

    async def GetListeningProfile(
        self, request: pb.GetListeningProfileRequest, context: Any
    ) -> pb.GetListeningProfileResponse:
        """What a person listens to, over any period."""
        profile = await self._storage.read(
            lambda stores: listening_profile(
                stores,
                user=part(request.parent, 1),
                period=period(request),
                time_zone=request.time_zone,
                top=request.top_size or DEFAULT_TOP_SIZE,
            )
        )
        return pb.GetListeningProfileResponse(profile=profile_message(profile))

    async def DeleteHistory(self, request: pb.DeleteHistoryRequest, context: Any) -> pb.DeleteHistoryResponse:
        """Delete the history. It can be brought back until it is purged."""
        return await self._storage.write(
            lambda stores: pb.DeleteHistoryResponse(
                history=history_message(
                    delete_history(stores, user=part(request.name, 1), etag=request.etag, keep=self._keep)
                )
            )
        )

    async def UndeleteHistory(
        self, request: pb.UndeleteHistoryRequest, context: Any
    ) -> pb.UndeleteHistoryResponse:
        """Bring a deleted history back."""
        return await self._storage.write(
            lambda stores: pb.UndeleteHistoryResponse(
                history=history_message(
                    undelete_history(stores, user=part(request.name, 1), etag=request.etag)
                )
            )
        )


async def _chunks(requests: AsyncIterator[pb.ImportHistoryRequest]) -> AsyncIterator[bytes]:
    """The bytes of the chunks. Raises Fault CHUNK_INVALID for a gap or a wrong checksum."""
    offset = 0
    async for request in requests:
        if request.WhichOneof("part") != "chunk":
            raise Fault(
                reason_pb2.REASON_REQUEST_INVALID, "Only the first message is a header.", field="header"
            )
        chunk = request.chunk
        if chunk.offset != offset:
            raise Fault(
                reason_pb2.REASON_CHUNK_INVALID,
                f"The next chunk begins at byte {offset}, not {chunk.offset}.",
                field="chunk.offset",
            )
        if google_crc32c.value(chunk.data) != chunk.crc32c:
            raise Fault(
                reason_pb2.REASON_CHUNK_INVALID,
                "The checksum does not match the bytes.",
                field="chunk.crc32c",
            )
        offset += len(chunk.data)
        yield chunk.data
