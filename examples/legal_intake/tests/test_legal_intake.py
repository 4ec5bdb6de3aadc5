"""The whole test file: the contracts of a plugin and of a service, inherited."""

from mercat_legal_intake import LegalIntake

from mercat import TextRequest
from mercat.testing import FakeRetriever, PluginContract, ServiceContract

LETTERS = {
    "the landlord keeps my deposit": "tenancy",
    "deposit of the flat": "tenancy",
    "unpaid overtime": "employment",
}


class TestPlugin(PluginContract):
    plugin = "legal-intake"


class TestService(ServiceContract):
    requests = (TextRequest("my deposit for the flat"), TextRequest("overtime was not paid"))

    def make(self) -> LegalIntake:
        return LegalIntake(FakeRetriever(LETTERS), neighbours=2)
