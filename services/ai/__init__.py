"""The ai domain: models of what one person listens to, trained, registered, served and explained."""
