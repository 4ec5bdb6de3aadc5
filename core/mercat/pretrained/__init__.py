"""The folder of a pretrained model: found by name, checked before any library reads it, refused with the reason."""
