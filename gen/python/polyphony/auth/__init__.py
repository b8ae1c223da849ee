"""Generated from `proto/polyphony/auth` by `python -m cli.generate`. Do not edit."""
