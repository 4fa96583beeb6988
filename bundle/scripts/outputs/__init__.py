"""What leaves the program: captions as JSON Lines."""
