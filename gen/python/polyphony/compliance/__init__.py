"""Generated from `proto/polyphony/compliance` by `python -m cli.generate`. Do not edit."""
