"""Material that leaves weights free: scenes made here, public-domain photographs, and what cameras and weather do to them."""
