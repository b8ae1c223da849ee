"""Generated from `proto/buf/validate` by `python -m cli.generate`. Do not edit."""
