"""How compliance stores and signs: the database, the checkpoint file, the encodings."""
