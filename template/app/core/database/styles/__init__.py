"""The ways of writing models, of which a service uses one: mixins, and a base per database."""
