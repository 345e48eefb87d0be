"""Training pictures whose weights anyone may use: scenes made here, public-domain photographs, and what cameras and weather do to them."""
