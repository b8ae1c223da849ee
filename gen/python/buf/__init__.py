"""Generated from `proto/buf` by `python -m cli.generate`. Do not edit."""
