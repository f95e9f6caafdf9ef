"""The workbench: the command line `zspace` and the Panel app over `core` and `canvas`."""
