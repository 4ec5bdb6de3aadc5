"""Importing the runtimes of exported encoders without the reports that they send to their makers over the network.

ONNX Runtime and OpenVINO both report their use from the moment of their import, and keep an identity of the machine in
the home folder for it. What a service computes is nobody else's business: here they are imported with their own
switches off. A runtime that somebody else has imported before is left as it is.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from mercat.errors import missing_extra

_SWITCH = "ORT_DISABLE_TELEMETRY"
_REPORTS = "openvino_telemetry"
_importing = threading.Lock()


def onnxruntime() -> Any:
    """Return ONNX Runtime. Raises MissingExtra if it is not installed."""
    with _importing:
        if "onnxruntime" in sys.modules:
            return sys.modules["onnxruntime"]
        was = os.environ.get(_SWITCH)
        os.environ[_SWITCH] = "1"  # read while it is imported; afterwards it would be too late
        try:
            import onnxruntime
        except ImportError as error:
            raise missing_extra("backend = 'onnx'", "onnxruntime", "serve") from error
        finally:
            if was is None:
                del os.environ[_SWITCH]
            else:
                os.environ[_SWITCH] = was
        onnxruntime.disable_telemetry_events()
        return onnxruntime


def openvino() -> Any:
    """Return OpenVINO. Raises MissingExtra if it is not installed."""
    with _importing:
        if "openvino" in sys.modules:
            return sys.modules["openvino"]
        known = sys.modules.get(_REPORTS)
        sys.modules[_REPORTS] = None  # type: ignore[assignment]  # "not installed": OpenVINO goes on without it
        try:
            import openvino
        except ImportError as error:
            raise missing_extra("backend = 'openvino'", "openvino", "openvino") from error
        finally:
            if known is None:
                del sys.modules[_REPORTS]
            else:
                sys.modules[_REPORTS] = known
        return openvino
