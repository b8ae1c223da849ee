"""Models of what one person listens to: trained, registered, served and explained."""

from services.ai.servicers import (
    InferenceService,
    ModelRegistryService,
    RecommendationService,
    TrainingService,
)

__all__ = ["InferenceService", "ModelRegistryService", "RecommendationService", "TrainingService"]
