"""What runs inside an image: an HTTP server, and beside it a worker process that runs the model.

Everything here runs on Python 3.7 to 3.13 and imports nothing else of ``mdai_build``: an image holds a copy of this
folder alone, loaded under the name ``mdai_runtime`` (see ``__main__``).
"""
