"""Generated from `proto/polyphony/auth/v1` by `python -m cli.generate`. Do not edit."""
