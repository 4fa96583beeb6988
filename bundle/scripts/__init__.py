"""Medical image captioning with two frozen encoders and two Q-Formers (MSMedCap), as a MONAI Bundle.

Data flows ``reading -> windowing -> encoders -> qformer -> networks -> generation -> outputs``; each name is a
module or folder here. ``predictor.CaptionPredictor`` is the one class an integration needs.
"""
