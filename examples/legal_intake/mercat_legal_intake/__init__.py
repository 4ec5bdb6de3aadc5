"""Route an incoming legal letter to a matter type, with the letters it resembles."""

from collections import Counter
from collections.abc import Sequence

from mercat import Answer, Hit, Registry, Retriever, Service, TextRequest, hookimpl


class LegalIntake(Service[TextRequest, Answer]):
    """Votes among the nearest labelled letters and abstains when they disagree."""

    def __init__(self, letters: Retriever, *, neighbours: int = 5, min_share: float = 0.6) -> None:
        self.letters, self.neighbours, self.min_share = letters, neighbours, min_share

    def answer_many(self, requests: Sequence[TextRequest]) -> list[Answer]:
        found = self.letters.search_many([request.text for request in requests], k=self.neighbours)
        return [self._vote(hits) for hits in found]

    def _vote(self, hits: Sequence[Hit]) -> Answer:
        votes: dict[str, float] = Counter()  # type: ignore[assignment]
        for hit in hits:
            votes[hit.label] += max(hit.score, 0.0)
        if not (total := sum(votes.values())):
            return Answer(None, 0.0, evidence=hits, abstained=True)
        matter = max(votes, key=lambda label: votes[label])
        share = votes[matter] / total
        return Answer(matter, share, evidence=hits, abstained=share < self.min_share)


@hookimpl
def mercat_register(registry: Registry) -> None:
    registry.services.add("legal-intake", LegalIntake, summary="Route a letter to a matter type")
