"""The mesh on one machine: its state folder, its programs, and the supervisor that keeps them running."""
