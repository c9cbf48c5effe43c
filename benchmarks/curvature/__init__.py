"""What curvature costs, how exact it is, and how others compare: the scripts behind `results/curvature*.json`."""
