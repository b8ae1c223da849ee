"""A listener's first minutes in Python, with the asynchronous client generated from the contracts.

    PYTHONPATH=gen/sdk python clients/python/quickstart.py [HOST:PORT]

One call that is allowed, one that is denied and says why, one consent.
"""

import asyncio
import secrets
import sys
import uuid

from google.rpc import error_details_pb2
from grpclib import GRPCError
from grpclib.client import Channel
from polyphony_sdk.polyphony.auth.v1 import AuthServiceStub, LogInRequest, SignUpRequest, WhoAmIRequest
from polyphony_sdk.polyphony.compliance.v1 import ConsentServiceStub, GrantConsentRequest, ListPurposesRequest
from polyphony_sdk.polyphony.spotify.v1 import GetListeningProfileRequest, UserDataServiceStub


async def main(host: str, port: int) -> None:
    """Sign up, log in, be refused, consent, be answered."""
    async with Channel(host, port) as channel:
        auth = AuthServiceStub(channel)
        email, password = f"python-{secrets.token_hex(6)}@polyphony.example", secrets.token_urlsafe(18)
        await auth.sign_up(SignUpRequest(email=email, password=password, display_name="Python listener"))
        tokens = (await auth.log_in(LogInRequest(email=email, password=password))).tokens
        metadata = {"authorization": f"Bearer {tokens.access_token}"}

        me = (await auth.who_am_i(WhoAmIRequest(), metadata=metadata)).user
        print(f"allowed: WhoAmI says {me.name}")

        history = UserDataServiceStub(channel)
        request = GetListeningProfileRequest(parent="users/me")
        try:
            await history.get_listening_profile(request, metadata=metadata)
        except GRPCError as error:
            [info] = [each for each in error.details if isinstance(each, error_details_pb2.ErrorInfo)]
            print(f"denied:  GetListeningProfile answers {error.status.name} {info.reason}: {error.message}")

        consents = ConsentServiceStub(channel)
        purposes = (await consents.list_purposes(ListPurposesRequest(language_code="en"))).purposes
        [notice] = [each for each in purposes if each.id == "listening-profile"]
        grant = GrantConsentRequest(
            parent="users/me",
            purpose=notice.purpose,
            notice_version=notice.version,
            language_code=notice.language_code,
            request_id=str(uuid.uuid4()),
        )
        await consents.grant_consent(grant, metadata=metadata)
        profile = (await history.get_listening_profile(request, metadata=metadata)).profile
        print(f"allowed: GetListeningProfile counts {profile.plays} plays")


if __name__ == "__main__":
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8080"
    asyncio.run(main(address.partition(":")[0], int(address.rpartition(":")[2])))
