"""How everything under `gen/` is made out of `proto/`: one small module per kind of output."""
