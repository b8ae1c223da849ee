"""Generated from `proto/polyphony/policy/v1` by `python -m cli.generate`. Do not edit."""
