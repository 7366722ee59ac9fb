"""Pictures of the camera's moves for pages: SVG path data in a box of 24 x 24, drawn beside the words."""

ICONS = {
    "static": "M8 8h8v8H8z",
    "pan left": "M20 12H4m6-6-6 6 6 6",
    "pan right": "M4 12h16m-6-6 6 6-6 6",
    "tilt up": "M12 20V4m-6 6 6-6 6 6",
    "tilt down": "M12 4v16m-6-6 6 6 6-6",
    "zoom in": "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zm5 11.5L21 21M7.5 10.5h6m-3-3v6",
    "zoom out": "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zm5 11.5L21 21M7.5 10.5h6",
    "roll clockwise": "M20 12a8 8 0 1 1-3-6.2L20 8m0-5v5h-5",
    "roll anticlockwise": "M4 12a8 8 0 1 0 3-6.2L4 8m0-5v5h5",
}
