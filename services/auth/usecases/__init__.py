"""What the auth domain does, one verb each."""
