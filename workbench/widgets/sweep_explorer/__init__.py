"""sweep_explorer"""
