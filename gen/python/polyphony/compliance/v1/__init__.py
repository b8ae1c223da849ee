"""Generated from `proto/polyphony/compliance/v1` by `python -m cli.generate`. Do not edit."""
