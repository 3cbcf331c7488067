"""The HTTP service: a face over what the command line uses, without logic of its own.

`server` runs it, `app` puts it together. `guard`, `tokens`, `bodies` and `audit` keep out what must stay out;
`reading`, `watching`, `logs`, `artefacts` and `changing` hold the routes, whose answers `schemas` types. Nothing is
imported here, since the command line must start fast.
"""
