"""Generated from `proto/polyphony/ai/v1` by `python -m cli.generate`. Do not edit."""
