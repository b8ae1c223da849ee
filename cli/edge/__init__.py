"""Envoy's configuration, rendered from the contracts."""
