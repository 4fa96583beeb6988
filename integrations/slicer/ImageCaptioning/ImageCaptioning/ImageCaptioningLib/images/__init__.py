"""From an MRML volume to the picture that is captioned: slices, frames, segments, files, made samples."""
