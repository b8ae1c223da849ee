"""What the auth domain is about: accounts, sessions, keys, and the rules that hold for them.

Nothing here knows of gRPC, of a database or of a file: every rule is a function of its arguments.
"""
