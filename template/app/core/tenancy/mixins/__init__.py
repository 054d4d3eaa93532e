"""The mixin of models whose rows belong to a tenant, in the service's way of writing models."""
