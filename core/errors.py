"""Errors a user may see. Each message names the value, the limit and the remedy."""


class ZSpaceError(Exception):
    """Base of every error this project raises on purpose."""


class FrameMismatchError(ZSpaceError, ValueError):
    """Two tensors of different frames met in one operation."""


class NothingObservedError(ZSpaceError, LookupError):
    """A field was asked for before the session observed a signal."""


class BackendError(ZSpaceError, RuntimeError):
    """A backend or one of its primitives is missing."""


class CorpusError(ZSpaceError, ValueError):
    """The named text cannot be learned from."""


class RunError(ZSpaceError, RuntimeError):
    """A run folder cannot be read, written or continued."""


class PatchError(ZSpaceError, ValueError):
    """A painted layer is malformed."""


class PatchShapeError(PatchError, RuntimeError):
    """A painted layer has another shape than its canvas."""


class StateError(ZSpaceError, ValueError):
    """Weights from elsewhere do not fit the model."""
