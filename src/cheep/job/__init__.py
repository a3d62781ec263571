"""The main job as plain functions: typed settings and a run folder in, files of the run and a result out.

Commands, the demo and the pipelines call these; nothing here prints. What takes long reports through a callback.
"""
