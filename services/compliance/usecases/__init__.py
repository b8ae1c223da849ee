"""What can be done in this domain, one verb each."""
