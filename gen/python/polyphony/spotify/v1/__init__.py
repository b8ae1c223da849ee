"""Generated from `proto/polyphony/spotify/v1` by `python -m cli.generate`. Do not edit."""
