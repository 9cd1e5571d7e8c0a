"""Models as strangers have them, and what a server must do with each.

`specimens` says how a model is described: its inputs, how it is built, real requests for it.
`mixing` and `rowwise` are the models whose rows do and do not depend on one another; `broken` are
versions that can never answer. `models_main` exports all of them in a process of its own, because
the tests never import TensorFlow.
"""
