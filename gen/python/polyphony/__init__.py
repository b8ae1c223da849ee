"""Generated from `proto/polyphony` by `python -m cli.generate`. Do not edit."""
