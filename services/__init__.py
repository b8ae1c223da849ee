"""The domains of the mesh and the runtime that hosts them.

`services.runtime` is what every domain shares; `services.<domain>` is one domain, and never imports another one:
domains meet through generated stubs and events only. `python -m services <domain>` starts one of them.
"""
