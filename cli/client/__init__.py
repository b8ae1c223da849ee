"""The command as a client of the mesh: it goes through the edge like everyone else."""
