"""Generated from `proto/polyphony/errors/v1` by `python -m cli.generate`. Do not edit."""
