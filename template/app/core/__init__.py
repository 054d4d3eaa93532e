"""The foundation. An update replaces this package: change it through its seams, not in place."""
