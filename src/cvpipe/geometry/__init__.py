"""Cameras and the ground before them: from pixels to metres, with the uncertainty that follows from the calibration.

`marks` is what is known of a picture; `homography` and `pose` find how the ground is seen in it; `ground` says where on
it a pixel lies. `pitches` has the lines of sports, `earth` latitude and longitude. NumPy alone: nothing here knows of
records or stages. Pixels count from the corner of the first one; metres are x and y on the ground, z is up.
"""
