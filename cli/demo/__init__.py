"""`polyphony demo`: the main job of the mesh, played from the terminal through the edge."""
