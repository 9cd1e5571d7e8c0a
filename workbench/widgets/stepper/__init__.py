"""stepper"""
