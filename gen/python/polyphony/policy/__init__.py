"""Generated from `proto/polyphony/policy` by `python -m cli.generate`. Do not edit."""
