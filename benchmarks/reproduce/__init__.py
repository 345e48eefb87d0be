"""Table 1 and Figure 4 of the reproduction report on RDDM, as experiments that run anywhere: `python -m benchmarks.reproduce`."""
