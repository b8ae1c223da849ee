"""How the auth domain reaches databases, files and libraries."""
