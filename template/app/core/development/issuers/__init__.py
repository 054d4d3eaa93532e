"""How each provider describes a caller; a service has one of these modules."""
