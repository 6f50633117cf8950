"""The findings on a suite's results, computed once; the page, its tables and its CSV files only render them."""
