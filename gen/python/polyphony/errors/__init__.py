"""Generated from `proto/polyphony/errors` by `python -m cli.generate`. Do not edit."""
