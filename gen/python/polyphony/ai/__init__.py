"""Generated from `proto/polyphony/ai` by `python -m cli.generate`. Do not edit."""
