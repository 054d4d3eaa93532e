"""Who may issue the tokens; a service has one of these modules."""
