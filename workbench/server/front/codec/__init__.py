"""Large JSON bodies, converted in processes of their own.

`converter` owns one such process (`codec_process`); the `pool` keeps bodies of different sizes
apart.
"""

__all__ = ["converter", "pool", "codec_process"]
