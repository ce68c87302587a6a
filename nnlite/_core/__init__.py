"""What everything stands on: the build, the door to C, argument checks, settings, atomic files."""
