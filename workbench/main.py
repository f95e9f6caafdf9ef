"""What `panel serve workbench` runs, once a page: everything lives in importable modules."""

from workbench.page import build

build().servable()
