"""Are derivatives right: gradcheck, differences, reports, the place where NaN began."""
