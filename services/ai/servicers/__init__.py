"""The gRPC services of the ai domain: translation between messages and use cases, nothing else."""

from services.ai.servicers.inference import InferenceService
from services.ai.servicers.recommendation import RecommendationService
from services.ai.servicers.registry import ModelRegistryService
from services.ai.servicers.training import TrainingService

__all__ = ["InferenceService", "ModelRegistryService", "RecommendationService", "TrainingService"]
