"""Where work runs: cores, devices, and one function over many items on this machine or on Ray."""

from mercat.compute.batches import map_batches
from mercat.compute.device import Device, choose_device, cpu_flags
from mercat.compute.threads import cores, share

__all__ = ["Device", "choose_device", "cores", "cpu_flags", "map_batches", "share"]
