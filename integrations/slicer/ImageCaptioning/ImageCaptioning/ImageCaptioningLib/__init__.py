"""The module's work without Qt: slice pictures, captions in the scene, and who makes them. No torch."""
