"""`polyphony.auth.v1.AuthService`: translation between messages and use cases, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from interceptors.call import Call, current_call
from interceptors.identity import Identity
from polyphony.auth.v1 import auth_service_pb2 as pb
from polyphony.auth.v1 import token_pb2, user_pb2
from polyphony.auth.v1.auth_service_pb2_grpc import AuthServiceServicer
from services.auth.model.account import User
from services.auth.usecases.issue_tokens import Tokens
from services.auth.usecases.key_set import KeySet
from services.auth.usecases.log_in import LogIn
from services.auth.usecases.log_out import LogOut
from services.auth.usecases.refresh import Refresh
from services.auth.usecases.sign_up import SignUp
from services.auth.usecases.who_am_i import WhoAmI


@dataclass(frozen=True, slots=True)
class AuthVerbs:
    """What AuthService can do."""

    sign_up: SignUp
    log_in: LogIn
    refresh: Refresh
    log_out: LogOut
    who_am_i: WhoAmI
    keys: KeySet


class AuthService(AuthServiceServicer):
    """The door of the mesh: accounts, log-ins and the keys that verify them."""

    def __init__(self, verbs: AuthVerbs) -> None:
        """Answers with `verbs`."""
        self._verbs = verbs

    async def SignUp(self, request: pb.SignUpRequest, context: Any) -> pb.SignUpResponse:
        """Create a tenant and its first account."""
        call = _call()

        def answer(user: User) -> pb.SignUpResponse:
            call.attribute(user.tenant, user.id)
            return pb.SignUpResponse(user=_user(user))

        return await self._verbs.sign_up(
            email=request.email,
            password=request.password,
            display_name=request.display_name,
            tenant_display_name=request.tenant_display_name,
            answer=answer,
        )

    async def LogIn(self, request: pb.LogInRequest, context: Any) -> pb.LogInResponse:
        """Exchange an e-mail address and a password for tokens."""
        call = _call()

        def answer(tokens: Tokens, user: User) -> pb.LogInResponse:
            call.attribute(user.tenant, user.id)
            return pb.LogInResponse(tokens=_tokens(tokens), user=_user(user))

        return await self._verbs.log_in(email=request.email, password=request.password, answer=answer)

    async def Refresh(self, request: pb.RefreshRequest, context: Any) -> pb.RefreshResponse:
        """Exchange a refresh token for its successor."""
        return await self._verbs.refresh(
            request.refresh_token, lambda tokens: pb.RefreshResponse(tokens=_tokens(tokens))
        )

    async def LogOut(self, request: pb.LogOutRequest, context: Any) -> pb.LogOutResponse:
        """End the caller's session in every service."""
        caller = _caller()
        return await self._verbs.log_out(
            tenant=caller.tenant, session=caller.session, answer=pb.LogOutResponse
        )

    async def WhoAmI(self, request: pb.WhoAmIRequest, context: Any) -> pb.WhoAmIResponse:
        """The account and the session of the caller."""
        caller = _caller()
        user = await self._verbs.who_am_i(tenant=caller.tenant, user=caller.user)
        return pb.WhoAmIResponse(user=_user(user), session=caller.session)

    async def GetJsonWebKeySet(
        self, request: pb.GetJsonWebKeySetRequest, context: Any
    ) -> pb.GetJsonWebKeySetResponse:
        """The public keys that verify access tokens and service tokens."""
        return pb.GetJsonWebKeySetResponse(keys=await self.key_set())

    async def key_set(self) -> list[token_pb2.JsonWebKey]:
        """The same keys for auth's own road, which has nobody to ask."""
        return [
            token_pb2.JsonWebKey(kty="OKP", crv="Ed25519", x=key.x, kid=key.kid, use="sig", alg="EdDSA")
            for key in self._verbs.keys.public_keys()
        ]


def _call() -> Call:
    call = current_call()
    assert call is not None, "the road enters a call before its handler"
    return call


def _caller() -> Identity:
    return _call().identity


def _user(user: User) -> user_pb2.User:
    message = user_pb2.User(
        name=f"users/{user.id}",
        display_name=user.display_name,
        email=user.email,
        tenant=user.tenant,
        roles=user.roles,
        etag=user.etag,
    )
    _set_time(message.create_time, user.created_at)
    _set_time(message.update_time, user.updated_at)
    return message


def _tokens(tokens: Tokens) -> token_pb2.TokenPair:
    message = token_pb2.TokenPair(
        access_token=tokens.access_token, refresh_token=tokens.refresh_token, session=tokens.session
    )
    message.expires_in.FromTimedelta(tokens.expires_in)
    return message


def _set_time(field: Any, moment: datetime) -> None:
    field.FromDatetime(moment.astimezone(UTC).replace(tzinfo=None))
