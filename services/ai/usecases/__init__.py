"""What can be asked of the ai domain, one verb per module."""
