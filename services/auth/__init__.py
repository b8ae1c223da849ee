"""Who there is, who they are, and what they may do: accounts, sessions, tokens, keys, and the policy of roles."""

from services.auth.servicer import AuthService

__all__ = ["AuthService"]
