"""One module for each subcommand of `polyphony`."""
