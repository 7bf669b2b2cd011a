"""The main chart: what each setting costs in accuracy, against what it gains in speed."""
