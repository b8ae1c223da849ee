"""How the ai domain reaches its database, Triton and the spotify domain."""
