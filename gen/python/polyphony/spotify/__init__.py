"""Generated from `proto/polyphony/spotify` by `python -m cli.generate`. Do not edit."""
