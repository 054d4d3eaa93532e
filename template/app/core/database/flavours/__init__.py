"""What differs between kinds of database servers, each in a module with one `FLAVOUR`."""
